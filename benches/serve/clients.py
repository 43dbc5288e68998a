"""Talks to a running server with the clients that people have, as they come from their packages, and prints a table.

    pip install -r benches/serve/requirements.txt          # a second environment: requirements-newest.txt
    python benches/serve/clients.py http://127.0.0.1:3000 [--key KEY] [--model NAME] [--tiny http://127.0.0.1:3001]

Every client ranks the same documents; order and scores must be those of `POST /rerank` in TEI's own format. Then
come the errors: a wrong key (where the server has keys), a model it does not have, too many documents, none at
all. With --tiny, the address of a second server whose queue is small (`--max-queue-tokens 1600`), each
client also meets a real 429 under load, and those that retry must succeed in the end.

Between client and server stands a forwarder in this process, which only counts what passes.
Clients that are not installed are left out and named.
"""

import argparse
import asyncio
import http.client
import http.server
import importlib
import json
import logging
import math
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)
os.environ.update({"HAYSTACK_TELEMETRY_ENABLED": "False", "ANONYMIZED_TELEMETRY": "False", "TOKENIZERS_PARALLELISM": "false", "NO_PROXY": "127.0.0.1,localhost"})

QUERY = "how do birds fly?"
DOCUMENTS = [
    "The price of bread has doubled in ten years.",
    "Birds fly by flapping their wings, which pushes air down and back.",
    "Planes fly because engines push them forward and wings hold them up.",
    "Fish swim with their fins and breathe through gills.",
    "A bird's bones are hollow and light, and strong muscles pull the wings down.",
    "Zwölf Vögel saßen auf dem Dach. 十二只鸟 🐦",
]


class Forwarder:
    """Passes requests on and remembers what passed: method, path, status, seconds."""

    def __init__(self, target):
        self.target = urllib.parse.urlsplit(target)
        self.seen = []
        seen, target = self.seen, self.target

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def pass_on(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection", "content-length")}
                onward = http.client.HTTPConnection(target.hostname, target.port, timeout=120)
                onward.request(self.command, self.path, body or None, headers)
                answer = onward.getresponse()
                content = answer.read()
                seen.append((self.command, self.path, answer.status, time.monotonic(), dict(answer.getheaders())))
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                        self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                onward.close()

            do_GET = do_POST = pass_on

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


# ---------------------------------------------------------------- the clients
# Each takes (url, key, model, query, documents, top) and returns [(index, score)].

def cohere_v2(url, key, model, query, documents, top):
    import cohere
    answer = cohere.ClientV2(key, base_url=url).rerank(model=model, query=query, documents=documents, top_n=top)
    return [(result.index, result.relevance_score) for result in answer.results]


def cohere_v2_async(url, key, model, query, documents, top):
    import cohere

    async def call():
        answer = await cohere.AsyncClientV2(key, base_url=url).rerank(model=model, query=query, documents=documents, top_n=top)
        return [(result.index, result.relevance_score) for result in answer.results]
    return asyncio.run(call())


def cohere_v1(url, key, model, query, documents, top):
    import cohere
    answer = cohere.Client(key, base_url=url).rerank(model=model, query=query, documents=documents, top_n=top, return_documents=True)
    for result in answer.results:
        assert result.document.text == documents[result.index], "another document came back"
    assert answer.meta.api_version.version and answer.meta.billed_units.search_units >= 1, "meta"
    return [(result.index, result.relevance_score) for result in answer.results]


def cohere_v1_fields(url, key, model, query, documents, top):
    import cohere
    answer = cohere.Client(key, base_url=url).rerank(model=model, query=query, documents=[{"text": text} for text in documents], top_n=top, rank_fields=["text"], max_chunks_per_doc=4)
    return [(result.index, result.relevance_score) for result in answer.results]


def langchain_documents(texts):
    from langchain_core.documents import Document
    return [Document(text, metadata={"at": place}) for place, text in enumerate(texts)]


def langchain_pairs(documents):
    return [(document.metadata["at"], document.metadata["relevance_score"]) for document in documents]


def langchain_cohere(url, key, model, query, documents, top):
    from langchain_cohere import CohereRerank
    return langchain_pairs(CohereRerank(cohere_api_key=key, base_url=url, model=model, top_n=top).compress_documents(langchain_documents(documents), query))


def langchain_voyage(url, key, model, query, documents, top):
    from langchain_voyageai import VoyageAIRerank
    ranker = VoyageAIRerank(model=model, voyageai_api_key=key, api_key=key, top_k=top)
    ranker.client._params["base_url"] = f"{url}/v1"
    return langchain_pairs(ranker.compress_documents(langchain_documents(documents), query))


def langchain_nvidia(url, key, model, query, documents, top):
    from langchain_nvidia_ai_endpoints import NVIDIARerank
    ranker = NVIDIARerank(base_url=f"{url}/v1", api_key=key, model=model, top_n=top, truncate="END", max_batch_size=100_000, usage_telemetry_enabled=False)
    return langchain_pairs(ranker.compress_documents(langchain_documents(documents), query))


def langchain_infinity(url, key, model, query, documents, top):
    from infinity_client import Client
    from langchain_community.document_compressors.infinity_rerank import InfinityRerank
    # It takes the client without keys only, so the key goes in as a header.
    ranker = InfinityRerank(client=Client(base_url=url, headers={"authorization": f"Bearer {key}"}), model=model, top_n=top)
    return langchain_pairs(ranker.compress_documents(langchain_documents(documents), query))


def llama_nodes(texts):
    from llama_index.core.schema import NodeWithScore, TextNode
    return [NodeWithScore(node=TextNode(text=text, id_=str(place)), score=0.0) for place, text in enumerate(texts)]


def llama_pairs(ranker, query, documents):
    from llama_index.core.schema import QueryBundle
    return [(int(node.node.node_id), node.score) for node in ranker.postprocess_nodes(llama_nodes(documents), QueryBundle(query))]


def llama_cohere(url, key, model, query, documents, top):
    from llama_index.postprocessor.cohere_rerank import CohereRerank
    return llama_pairs(CohereRerank(api_key=key, base_url=url, model=model, top_n=top, max_retries=1), query, documents)


def llama_jina(url, key, model, query, documents, top):
    from llama_index.postprocessor.jinaai_rerank import JinaRerank
    return llama_pairs(JinaRerank(api_key=key, base_url=f"{url}/v1", model=model, top_n=top), query, documents)


def llama_tei(url, key, model, query, documents, top):
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference
    return llama_pairs(TextEmbeddingInference(base_url=url, top_n=top, auth_token=f"Bearer {key}"), query, documents)


def llama_voyage(url, key, model, query, documents, top):
    from llama_index.postprocessor.voyageai_rerank import VoyageAIRerank
    ranker = VoyageAIRerank(model=model, api_key=key, top_n=top)
    ranker._client._params["base_url"] = f"{url}/v1"
    return llama_pairs(ranker, query, documents)


def llama_mixedbread(url, key, model, query, documents, top):
    from llama_index.postprocessor.mixedbreadai_rerank import MixedbreadAIRerank
    os.environ["MIXEDBREAD_BASE_URL"] = url
    return llama_pairs(MixedbreadAIRerank(api_key=key, model=model, top_n=top), query, documents)


def llama_nvidia(url, key, model, query, documents, top):
    from llama_index.postprocessor.nvidia_rerank import NVIDIARerank
    return llama_pairs(NVIDIARerank(base_url=f"{url}/v1", model=model, api_key=key, top_n=top, max_batch_size=100_000), query, documents)


def haystack_pairs(ranker, query, texts):
    from haystack import Document
    documents = [Document(content=text, id=str(place)) for place, text in enumerate(texts)]
    return [(int(document.id), document.score) for document in ranker.run(query, documents)["documents"]]


def secret(key):
    from haystack.utils import Secret
    return Secret.from_token(key)


def haystack_tei(url, key, model, query, documents, top):
    from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker
    return haystack_pairs(HuggingFaceTEIRanker(url=url, top_k=top, token=secret(key)), query, documents)


def haystack_tei_raw(url, key, model, query, documents, top):
    from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker
    return haystack_pairs(HuggingFaceTEIRanker(url=url, top_k=top, token=secret(key), raw_scores=True), query, documents)


def haystack_jina(url, key, model, query, documents, top):
    from haystack_integrations.components.rankers.jina import JinaRanker
    return haystack_pairs(JinaRanker(model=model, api_key=secret(key), base_url=f"{url}/v1/rerank", top_k=top), query, documents)


def haystack_cohere(url, key, model, query, documents, top):
    from haystack_integrations.components.rankers.cohere import CohereRanker
    return haystack_pairs(CohereRanker(model=model, api_key=secret(key), api_base_url=url, top_k=top), query, documents)


def haystack_nvidia(url, key, model, query, documents, top):
    from haystack_integrations.components.rankers.nvidia import NvidiaRanker
    return haystack_pairs(NvidiaRanker(model=model, api_key=secret(key), api_url=f"{url}/v1", top_k=top, truncate="END"), query, documents)


def reranker(provider, route):
    def call(url, key, model, query, documents, top):
        from rerankers.models.api_rankers import APIRanker
        found = APIRanker(model, key, provider, url=url + route, verbose=0).rank(query, documents)
        return [(result.document.doc_id, result.score) for result in found.results][:top]
    return call


def voyage(url, key, model, query, documents, top):
    import voyageai
    found = voyageai.Client(key, base_url=f"{url}/v1", max_retries=3).rerank(query, documents, model=model, top_k=top)
    assert found.total_tokens > 0, "no tokens were counted"
    return [(result.index, result.relevance_score) for result in found.results]


def voyage_all(url, key, model, query, documents, top):
    import voyageai
    found = voyageai.Client(key, base_url=f"{url}/v1").rerank(query, documents, model=model, truncation=True)
    return [(result.index, result.relevance_score) for result in found.results][:top]


def mixedbread(url, key, model, query, documents, top):
    from mixedbread import Mixedbread
    found = Mixedbread(api_key=key, base_url=url).rerank(model=model, query=query, input=documents, top_k=top, return_input=True)
    assert [result.input for result in found.data] == [documents[result.index] for result in found.data], "another document came back"
    return [(result.index, result.score) for result in found.data]


def infinity(url, key, model, query, documents, top):
    from infinity_client import AuthenticatedClient
    from infinity_client.api.default import rerank
    from infinity_client.models import RerankInput
    found = rerank.sync(client=AuthenticatedClient(base_url=url, token=key, raise_on_unexpected_status=True), body=RerankInput(query=query, documents=documents, model=model, top_n=top, return_documents=True))
    if not hasattr(found, "results"):
        raise ValueError(f"{type(found).__name__}: {found.detail}")
    return [(result.index, result.relevance_score) for result in found.results]


def infinity_default(url, key, model, query, documents, top):
    from infinity_client import AuthenticatedClient
    from infinity_client.api.default import rerank
    from infinity_client.models import RerankInput
    found = rerank.sync(client=AuthenticatedClient(base_url=url, token=key), body=RerankInput(query=query, documents=documents))
    return [(result.index, result.relevance_score) for result in found.results][:top]


def curl(route, body, read):
    def call(url, key, model, query, documents, top):
        sent = json.dumps(body(model, query, documents, top))
        answer = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", f"{url}{route}", "-H", "content-type: application/json", "-H", f"authorization: Bearer {key}", "-d", "@-"], input=sent, capture_output=True, text=True, check=True)
        text, status = answer.stdout.rsplit("\n", 1)
        if status != "200":
            raise urllib.error.HTTPError(url, int(status), text, None, None)
        return read(json.loads(text))
    return call


def read_results(answer):
    return [(result["index"], result["relevance_score"]) for result in answer["results"]]


# What a client raises is its own affair; that it is an error of the right kind is checked by its name or words.
COHERE = {"key": "UnauthorizedError", "model": "NotFoundError", "many": "UnprocessableEntityError", "empty": "BadRequestError"}
WRAPPED_COHERE = COHERE | {"empty": "nothing"}
JINA = {"key": "RuntimeError", "model": "RuntimeError", "many": "RuntimeError", "empty": "nothing"}
VOYAGE = {"key": "AuthenticationError", "model": "APIError", "many": "MalformedRequestError", "empty": "InvalidRequestError"}
STAINLESS = {"key": "AuthenticationError", "model": "NotFoundError", "many": "UnprocessableEntityError", "empty": "BadRequestError"}
NIM = {"key": "Exception", "model": "Exception", "many": "Exception", "empty": "nothing"}
# "nothing": an empty list without asking; "none": no error, as TEI knows no models; "either": the client may cut its list first.
# These read the answer without looking at the status, so any exception is all that can be asked for.
BLIND = {"key": "any", "model": "any", "many": "any", "empty": "any"}
STATUS = {"key": "401", "model": "404", "many": "422", "empty": "400"}

# name, module, call, scores (activation: what the model declares; logit), errors, whether it retries a 429 by itself
CLIENTS = [
    ("cohere ClientV2", "cohere", cohere_v2, "activation", COHERE, True),
    ("cohere AsyncClientV2", "cohere", cohere_v2_async, "activation", COHERE, True),
    ("cohere Client (v1)", "cohere", cohere_v1, "activation", COHERE, True),
    ("cohere Client (v1), objects", "cohere", cohere_v1_fields, "activation", COHERE, True),
    ("LangChain CohereRerank", "langchain_cohere", langchain_cohere, "activation", WRAPPED_COHERE, True),
    ("LangChain VoyageAIRerank", "langchain_voyageai", langchain_voyage, "activation", VOYAGE | {"empty": "nothing"}, False),
    ("LangChain NVIDIARerank", "langchain_nvidia_ai_endpoints", langchain_nvidia, "logit", NIM, False),
    ("LangChain InfinityRerank", "infinity_client+langchain_community", langchain_infinity, "activation", BLIND | {"empty": "nothing"}, False),
    ("LlamaIndex CohereRerank", "llama_index.postprocessor.cohere_rerank", llama_cohere, "activation", WRAPPED_COHERE, True),
    ("LlamaIndex JinaRerank", "llama_index.postprocessor.jinaai_rerank", llama_jina, "activation", JINA, False),
    ("LlamaIndex TextEmbeddingInference", "llama_index.postprocessor.tei_rerank", llama_tei, "activation", BLIND | {"model": "none", "empty": "nothing"}, False),
    ("LlamaIndex VoyageAIRerank", "llama_index.postprocessor.voyageai_rerank", llama_voyage, "activation", VOYAGE | {"empty": "nothing"}, False),
    ("LlamaIndex MixedbreadAIRerank", "llama_index.postprocessor.mixedbreadai_rerank", llama_mixedbread, "activation", STAINLESS | {"empty": "nothing"}, True),
    ("LlamaIndex NVIDIARerank", "llama_index.postprocessor.nvidia_rerank", llama_nvidia, "logit", {"key": "HTTPStatusError", "model": "ValueError", "many": "HTTPStatusError", "empty": "nothing"}, False),
    ("Haystack HuggingFaceTEIRanker", "haystack_integrations.components.rankers.huggingface_api", haystack_tei, "activation", {"key": "RuntimeError", "model": "none", "many": "RuntimeError", "empty": "nothing"}, True),
    ("Haystack TEI, raw scores", "haystack_integrations.components.rankers.huggingface_api", haystack_tei_raw, "logit", {"key": "RuntimeError", "model": "none", "many": "RuntimeError", "empty": "nothing"}, True),
    ("Haystack JinaRanker", "haystack_integrations.components.rankers.jina", haystack_jina, "activation", JINA, False),
    ("Haystack CohereRanker", "haystack_integrations.components.rankers.cohere", haystack_cohere, "activation", COHERE | {"many": "either"}, True),
    ("Haystack NvidiaRanker", "haystack_integrations.components.rankers.nvidia", haystack_nvidia, "logit", {"key": "ValueError", "model": "ValueError", "many": "ValueError", "empty": "nothing"}, False),
    ("rerankers, cohere", "rerankers", reranker("cohere", "/v1/rerank"), "activation", BLIND, False),
    ("rerankers, jina", "rerankers", reranker("jina", "/v1/rerank"), "activation", BLIND, False),
    ("rerankers, voyage", "rerankers", reranker("voyage", "/v1/rerank"), "activation", BLIND, False),
    ("rerankers, mixedbread.ai", "rerankers", reranker("mixedbread.ai", "/v1/reranking"), "activation", BLIND, False),
    ("rerankers, text-embeddings-inference", "rerankers", reranker("text-embeddings-inference", "/rerank"), "activation", BLIND | {"model": "none"}, False),
    ("rerankers, pinecone", "rerankers", reranker("pinecone", "/rerank"), "activation", BLIND, False),
    ("voyageai", "voyageai", voyage, "activation", VOYAGE, True),
    ("voyageai, without top_k", "voyageai", voyage_all, "activation", VOYAGE, False),
    ("mixedbread", "mixedbread", mixedbread, "activation", STAINLESS, True),
    ("infinity-client", "infinity_client", infinity, "activation", {"key": "UnexpectedStatus", "model": "UnexpectedStatus", "many": "HTTPValidationError", "empty": "any"}, False),
    ("infinity-client, no model", "infinity_client", infinity_default, "activation", BLIND | {"model": "none"}, False),
    ("curl, TEI", None, curl("/rerank", lambda m, q, d, n: {"query": q, "texts": d}, lambda a: [(r["index"], r["score"]) for r in a][:4]), "activation", STATUS | {"model": "none"}, False),
    ("curl, Cohere v2", None, curl("/v2/rerank", lambda m, q, d, n: {"model": m, "query": q, "documents": d, "top_n": n, "max_tokens_per_doc": None, "priority": None}, read_results), "activation", STATUS, False),
    ("curl, Jina", None, curl("/v1/rerank", lambda m, q, d, n: {"model": m, "query": q, "documents": [{"text": text} for text in d], "top_n": n, "return_documents": None}, read_results), "activation", STATUS, False),
    ("curl, vLLM /rerank", None, curl("/rerank", lambda m, q, d, n: {"model": m, "query": q, "documents": d, "top_n": n, "truncate_prompt_tokens": None, "user": None}, read_results), "activation", STATUS, False),
    ("curl, vLLM /score", None, curl("/v1/score", lambda m, q, d, n: {"model": m, "text_1": q, "text_2": d}, lambda a: sorted(((r["index"], r["score"]) for r in a["data"]), key=lambda pair: -pair[1])[:4]), "activation", STATUS, False),
]


class Check:
    def __init__(self, given):
        self.given, self.rows = given, []

    def add(self, client, case, good, detail=""):
        self.rows.append((client, case, good, detail))
        if not good:
            print(f"BAD {client} · {case}: {detail}", flush=True)


def post(url, key, route, body):
    request = urllib.request.Request(url + route, json.dumps(body).encode(), {"content-type": "application/json", "authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def info_of(url, key):
    request = urllib.request.Request(f"{url}/info", headers={"authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def expected(url, key, model, activation):
    """Logits in TEI's format are the reference; every format tells them or what the model declares to make of them."""
    # `texts` with a model is our extension: the reference is of the model that the clients ask.
    found = post(url, key, "/rerank", {"model": model, "query": QUERY, "texts": DOCUMENTS, "raw_scores": True})
    logits = [(result["index"], result["score"]) for result in found]
    sigmoids = [(index, 1 / (1 + math.exp(-score))) for index, score in logits]
    return {"logit": logits, "activation": sigmoids if activation == "sigmoid" else logits}


def fits(error, wanted):
    if wanted in ("any", "either"):
        return True
    names = [cause.__name__ for cause in type(error).__mro__]
    return wanted in names or wanted in str(error) or (wanted.isdigit() and str(getattr(error, "code", "")) == wanted)


def success(check, name, call, reference, forward, key, model):
    top = 4
    try:
        found = call(forward.url, key, model, QUERY, DOCUMENTS, top)
    except Exception as error:
        return check.add(name, "ranks", False, f"{type(error).__name__}: {str(error)[:200]}")
    wanted = reference[:top]
    same = [index for index, _ in found] == [index for index, _ in wanted] and all(abs(a - b) <= 1e-6 * max(1, abs(b)) for (_, a), (_, b) in zip(found, wanted))
    check.add(name, "ranks", same, f"{found} instead of {wanted}")


def failure(check, name, call, case, wanted, forward, key, model, limit):
    arguments = {
        "key": ("wrong-key", model, DOCUMENTS), "model": (key, "no-such-model", DOCUMENTS),
        "many": (key, model, [f"document {number}" for number in range(limit + 1)]), "empty": (key, model, []),
    }[case]
    given_key, given_model, documents = arguments
    try:
        found = call(forward.url, given_key, given_model, QUERY, documents, 4)
    except Exception as error:
        return check.add(name, case, wanted not in ("none", "nothing") and fits(error, wanted), f"{type(error).__name__}: {str(error)[:160]}, expected {wanted}")
    good = (wanted == "nothing" and found == []) or (wanted in ("none", "either") and len(found) > 0)
    check.add(name, case, good, f"no error but {str(found)[:80]}, expected {wanted}")


def overloaded(check, clients, url, key, model, reference):
    """A real 429: other requests keep the queue full until the client was refused once, then they stop."""
    # Heavy enough to fill a small queue, light enough to be admitted into an empty one.
    heavy = {"query": QUERY, "texts": ["the wing of a bird bends air downwards " * 12] * 12}
    for name, _, call, kind, _, retries in clients:
        forward = Forwarder(url)
        stop = threading.Event()

        def press():
            while not stop.is_set():
                try:
                    post(url, key, "/rerank", heavy)
                except (urllib.error.HTTPError, OSError):
                    time.sleep(0.002)

        threads = [threading.Thread(target=press, daemon=True) for _ in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)

        def watch():
            while not stop.is_set() and not any(seen[2] == 429 for seen in forward.seen):
                time.sleep(0.01)
            stop.set()

        threading.Thread(target=watch, daemon=True).start()
        outcome, found = None, None
        end = time.monotonic() + 15
        # Documents of some length, so that they do not slip into what little room the queue has.
        documents = [text + " and so on" * 60 for text in DOCUMENTS]
        while time.monotonic() < end and not any(seen[2] == 429 for seen in forward.seen):
            try:
                found = call(forward.url, key, model, QUERY, documents, 4)
                outcome = None
            except Exception as error:
                outcome = error
        stop.set()
        for thread in threads:
            thread.join()
        refused = [seen for seen in forward.seen if seen[2] == 429]
        if not refused:
            check.add(name, "429", False, "the queue was never full")
            continue
        wait = {key.lower(): value for key, value in refused[0][4].items()}.get("retry-after", "")
        if not wait.isdigit() or int(wait) < 1:
            check.add(name, "429", False, f"Retry-After is {wait!r}")
        elif retries:
            check.add(name, "429", outcome is None and len(found or []) == 4, f"{type(outcome).__name__}: {str(outcome)[:160]}")
        else:
            check.add(name, "429", outcome is not None, "a 429 was not noticed")


def table(check, clients):
    cases = ["ranks", "key", "model", "many", "empty", "429"]
    words = {"ranks": "ranks", "key": "bad key", "model": "no such model", "many": "too many", "empty": "no documents", "429": "429"}
    colour = sys.stdout.isatty()
    paint = (lambda text, good: f"\x1b[{32 if good else 31}m{text}\x1b[0m") if colour else (lambda text, good: text)
    width = max(len(name) for name, *_ in clients)
    print("\n" + " " * width + "".join(f"  {words[case]:>13}" for case in cases))
    for name, *_ in clients:
        cells = []
        for case in cases:
            found = [good for client, other, good, _ in check.rows if client == name and other == case]
            text = "·" if not found else "green" if all(found) else "RED"
            cells.append("  " + " " * (13 - len(text)) + paint(text, bool(found) and all(found)))
        print(f"{name:<{width}}" + "".join(cells))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--key", default="")
    parser.add_argument("--model")
    parser.add_argument("--tiny", help="address of a server with a small queue")
    parser.add_argument("--only", help="clients whose name contains this")
    given = parser.parse_args()
    url, key = given.url.rstrip("/"), given.key or "no-key-needed"
    info = info_of(url, key)
    model = next((entry for entry in info["models"] if entry["name"] == given.model), None) or next(entry for entry in info["models"] if entry["is_default"])
    name, limit = model["name"], info["limits"]["max_documents"]
    print(f"{url}: model {name}, activation {model['activation']}, at most {limit} documents")
    clients, missing = [], set()
    for client in CLIENTS:
        try:
            for module in (client[1] or "json").split("+"):
                importlib.import_module(module)
            clients.append(client)
        except ImportError:
            missing.add(client[1].split("+")[0].split(".")[-1])
    clients = [client for client in clients if not given.only or given.only in client[0]]
    check = Check(given)
    forward = Forwarder(url)
    reference = expected(url, key, name, model["activation"])
    for client, _, call, kind, errors, _ in clients:
        success(check, client, call, reference[kind], forward, key, name)
        for case, wanted in errors.items():
            if case == "key" and not given.key:
                continue
            failure(check, client, call, case, wanted, forward, key, name, limit)
    if given.tiny:
        overloaded(check, clients, given.tiny.rstrip("/"), key, name, reference)
    table(check, clients)
    bad = [row for row in check.rows if not row[2]]
    print(f"\n{len(check.rows) - len(bad)} of {len(check.rows)} green" + (f"; not installed: {', '.join(sorted(missing))}" if missing else "") + ("" if given.key else "; keys not tested (no --key)"))
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
