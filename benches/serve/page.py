"""Uses the playground and the API page of a running server as people do, and says what is right and what is not.

    python benches/serve/page.py http://127.0.0.1:3000 [--key KEY] [--out FOLDER] [--chromium /usr/bin/chromium]

The browser is headless Chromium, driven with playwright; pictures of every state go to FOLDER. The server must
have a model; what several models, exits or keys make possible is checked where the server has them. Faults that
a healthy server does not show (429, 503, 504, no answer) are put between it and the page.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

checks = []


def check(name, good, detail=""):
    checks.append((name, bool(good), detail))
    print(f"{'ok  ' if good else 'BAD '} {name}{'' if good else f': {detail}'}", flush=True)


# What a script can tell about access: names of controls, contrast of text, sizes of targets, headings, ids.
AUDIT = r"""
() => {
  const problems = [];
  const shown = (node) => node.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && node.getClientRects().length > 0;
  const name = (node) => (node.getAttribute("aria-label")
    || (node.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim()
    || [...(node.labels ?? [])].map((label) => label.textContent).join(" ").trim()
    || node.textContent.trim() || node.title);
  for (const node of document.querySelectorAll("button, a[href], input, select, textarea, [role=tab], summary")) {
    if (node.type !== "hidden" && !name(node)) problems.push(`no name: ${node.outerHTML.slice(0, 80)}`);
  }
  for (const node of document.querySelectorAll("dialog, [role=img], [role=tabpanel], nav, section[aria-labelledby]")) {
    if (!node.getAttribute("aria-label") && !node.getAttribute("aria-labelledby") && node.tagName !== "NAV") problems.push(`no name: ${node.outerHTML.slice(0, 60)}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) problems.push(`id twice: ${id}`);
  for (const node of document.querySelectorAll("[aria-controls], [aria-describedby], [aria-labelledby], label[for]")) {
    for (const attribute of ["aria-controls", "aria-describedby", "aria-labelledby", "for"]) {
      for (const id of (node.getAttribute(attribute) ?? "").split(" ").filter(Boolean)) if (!document.getElementById(id)) problems.push(`${attribute} points nowhere: ${id}`);
    }
  }
  if (!document.documentElement.lang) problems.push("no language");
  if (!document.querySelector("main")) problems.push("no main");
  const headings = [...document.querySelectorAll("h1, h2, h3, h4")].filter(shown).map((node) => Number(node.tagName[1]));
  if (headings.filter((level) => level === 1).length !== 1) problems.push(`headings of the first level: ${headings.filter((level) => level === 1).length}`);
  // Colours are composed over what lies behind them.
  const parse = (text) => {
    const canvas = parse.canvas ??= document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = "#000"; canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const behind = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const light = ([r, g, b]) => [r, g, b].map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)).reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  const ratio = (one, two) => { const [high, low] = [light(one), light(two)].sort((a, b) => b - a); return (high + 0.05) / (low + 0.05); };
  let lowest = 99;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !shown(node) || node.closest("[aria-hidden=true], .visually-hidden, option, noscript, .skip")) continue;
    const style = getComputedStyle(node);
    const ground = behind(node);
    const size = parseFloat(style.fontSize);
    const needed = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const found = ratio(over(parse(style.color), ground), ground);
    lowest = Math.min(lowest, found);
    if (found < needed) problems.push(`contrast ${found.toFixed(2)}: “${walker.currentNode.data.trim().slice(0, 30)}”`);
  }
  // WCAG 2.2, 2.5.8: 24 by 24 pixels, but for links within a line of text.
  for (const node of document.querySelectorAll("button, input, select, summary, [role=tab], nav a")) {
    if (!shown(node) || node.closest(".visually-hidden")) continue;
    const boxes = [node, ...(node.labels ?? [])].map((part) => part.getBoundingClientRect());
    const box = boxes.reduce((one, two) => (two.height > one.height ? two : one));
    if (box.height < 24 && !node.matches(".unfold, .link")) problems.push(`target ${box.width.toFixed(0)}x${box.height.toFixed(0)}: ${node.outerHTML.slice(0, 60)}`);
  }
  return { problems: [...new Set(problems)], lowest };
}
"""

ORDER = "[...document.querySelectorAll('%s .row')].map((row) => Number(/input ([0-9]+)/.exec(row.querySelector('.about').textContent)[1]) - 1)"


class Site:
    """The server under test, and pages on it that remember what went wrong in them."""

    def __init__(self, url, key, browser, out):
        self.url, self.key, self.browser, self.out = url.rstrip("/") + "/", key, browser, out
        self.noise, self.hosts, self.traffic = [], set(), []

    def page(self, width=1440, height=900, scheme="light", quiet=False, **more):
        # The name does not matter to the server; the password of a browser's own box is the key.
        known = {"username": "anyone", "password": self.key} if self.key and "http_credentials" not in more else more.pop("http_credentials", None)
        context = self.browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, http_credentials=known, **more)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.on("request", lambda request: self.hosts.add(re.sub(r"^(\w+://[^/]*).*", r"\1", request.url)))
        page.on("pageerror", lambda error: self.noise.append(str(error)))
        if not quiet:
            page.on("console", lambda message: self.noise.append(message.text) if message.type in ("error", "warning") else None)
        return page

    def open(self, page, path=""):
        if self.key:
            page.add_init_script(f"sessionStorage.setItem('tamis.key', {json.dumps(self.key)})")
        page.goto(self.url + path)
        if not path or path.startswith("#"):
            page.wait_for_selector("#server[data-state=ready]", state="attached")
        return page

    def ask(self, route, body=None):
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(self.url + route, json.dumps(body).encode() if body else None, headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def rerank(self, **body):
        return self.ask("v1/rerank", body)["results"]

    def shoot(self, page, name, full=False):
        if self.out:
            page.screenshot(path=str(self.out / f"{name}.png"), full_page=full)


def until(page, expression, seconds=15):
    """Waits in Python: the page's policy forbids the strings that playwright would evaluate inside it."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        if time.monotonic() > end:
            raise TimeoutError(expression)
        page.wait_for_timeout(25)


def answer_with(status, body, **headers):
    """A handler that stands in for the server."""
    def handle(route):
        route.fulfill(status=status, headers={"content-type": "application/json", **headers}, body=body)
    return handle


def type_request(page, query, documents):
    page.fill("#query", query)
    page.fill("#documents", documents)


def rank(page):
    before = page.evaluate("performance.now()")
    page.locator("#live").evaluate("(node) => { node.textContent = ''; }")
    page.locator("#run").click()
    until(page, "document.getElementById('live').textContent || !document.getElementById('fault').hidden")
    return page.evaluate("performance.now()") - before


QUERY = "what keeps bread fresh?"
DOCUMENTS = [
    "The price of bread has doubled in ten years.",
    "A linen bag lets bread breathe, and it stays fresh for three days.",
    "Fresh fish is kept on ice.",
    "Freeze sliced bread on the day it is baked; it keeps for a month.",
    "Fresh air keeps the mind awake.",
]


def ranks(site):
    page = site.open(site.page())
    site.shoot(page, "empty")
    page.locator(".example").first.click()
    page.wait_for_selector(".row >> visible=true")
    check("one click on an example gives a ranking", page.locator("#ranking .row").count() > 3)
    site.shoot(page, "example", full=True)
    type_request(page, QUERY, "\n".join(DOCUMENTS))
    rank(page)
    expected = site.rerank(query=QUERY, documents=DOCUMENTS)
    order = page.evaluate(ORDER % "#ranking")
    check("the order is that of POST /v1/rerank", order == [result["index"] for result in expected], f"{order}")
    shown = [float(text.replace("\u2212", "-")) for text in page.locator("#ranking .number").all_inner_texts()]
    check("the scores are those of POST /v1/rerank", all(abs(a - b["relevance_score"]) <= 1e-4 + 1e-3 * abs(a) for a, b in zip(shown, expected)), f"{shown}")
    moves = page.evaluate("[...document.querySelectorAll('#ranking .row')].map((row) => row.querySelector('.move .visually-hidden').textContent)")
    right = all((f"up {index - place}" in text) if index > place else (f"down {place - index}" in text) if index < place else text.startswith("same")
                for place, (index, text) in enumerate(zip(order, moves)))
    check("each row says how far it moved", right, f"{moves}")
    facts = page.locator(".facts").inner_text()
    check("time and tokens are told", all(word in facts for word in ("scoring", "waiting", "token", "in the server")), facts)
    check("the answer is announced", page.locator("#live").inner_text().startswith("5 documents ranked"), page.locator("#live").inner_text())
    page.fill("#documents", "<img src=x onerror=document.title='broken'>\n<b>bold</b> & <script>document.title='broken'</script>")
    rank(page)
    check("text stays text", page.title() != "broken" and page.locator("#ranking img, #ranking .doc b, #ranking script").count() == 0)
    page.reload()
    page.wait_for_selector("#server[data-state=ready]", state="attached")
    check("what was typed is there after a reload", page.input_value("#query") == QUERY)


def compares(site, info):
    page = site.open(site.page(1500, 1000))
    type_request(page, QUERY, "\n".join(DOCUMENTS))
    page.locator("label.switch").click()
    rank(page)
    page.wait_for_selector(".slopes >> visible=true")
    chosen = {side: page.evaluate(f"Object.fromEntries([...document.querySelectorAll('#setting-{side} select')].map((node) => [node.id.slice(2), node.value]))") for side in "ab"}
    check("the second setting is another one", chosen["a"] != chosen["b"], f"{chosen}")
    for side in "ab":
        body = {name: (int(value) if name in ("exit", "ratio") else value) for name, value in chosen[side].items() if value}
        expected = [result["index"] for result in site.rerank(query=QUERY, documents=DOCUMENTS, **body)]
        order = page.evaluate(ORDER % f".slopes .rows.side-{side}")
        check(f"side {side.upper()} is ranked by its setting", order == expected, f"{order} and {expected} with {body}")
    check("a line joins each document with itself", page.locator(".lines path").count() == len(DOCUMENTS), str(page.locator(".lines path").count()))
    page.locator(".slopes .row").first.hover()
    check("a row and its twin light up together", page.locator(".slopes .row.on").count() == 2)
    site.shoot(page, "compare", full=True)
    models = info.get("models", [])
    if any(model["depths"] for model in models):
        name = next(model["name"] for model in models if model["depths"])
        if len(models) > 1:
            page.select_option("#a-model", label=name)
            page.select_option("#b-model", label=name)
        exits = page.locator("#b-exit option").all_inner_texts()
        check("exits can be chosen", len(exits) > 1, f"{exits}")
        page.locator("#a-exit").select_option(index=0)
        page.locator("#b-exit").select_option(index=1)
        rank(page)
        check("two exits are compared", "exit" in page.locator(".costs").inner_text())
        site.shoot(page, "exits", full=True)


def copies(site):
    page = site.open(site.page())
    hard = [*DOCUMENTS, "it's a \"quoted\" $HOME `date` \\n line", "zwölf Brötchen, 十二个面包, 🥖"]
    type_request(page, "what's fresh: \"bread\" or $(fish)?", "\n".join(hard))
    rank(page)
    expected = [result["index"] for result in site.rerank(query="what's fresh: \"bread\" or $(fish)?", documents=hard)]
    environment = {"PATH": "/usr/bin:/bin", "TAMIS_API_KEY": site.key or ""}
    page.locator("#copy").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    check("copying puts the request on the clipboard", copied.startswith("curl"), copied[:40])
    answer = subprocess.run(["bash", "-c", copied], capture_output=True, text=True, env=environment)
    try:
        order = [result["index"] for result in json.loads(answer.stdout)["results"]]
    except (ValueError, KeyError):
        order = (answer.stdout + answer.stderr)[:300]
    check("the curl line gives the same ranking", order == expected, f"{order}")
    for language, module in (("python", "requests"), ("cohere", "cohere")):
        page.locator(f"#tab-{language}").click()
        text = page.locator("#snippet").inner_text()
        if subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True).returncode:
            print(f"skip {language}: {module} is not installed")
            continue
        answer = subprocess.run([sys.executable, "-"], input=text, capture_output=True, text=True, env=environment)
        order = [int(line.split()[0]) for line in answer.stdout.splitlines() if line.strip()]
        check(f"the {language} lines give the same ranking", order == expected, f"{order} {answer.stderr[-300:]}")
    # Many documents go into a file of their own.
    page.fill("#documents", "\n".join(f"{text} ({number})" for number in range(40) for text in DOCUMENTS))
    rank(page)
    page.locator("#tab-python").click()
    with page.expect_download() as download:
        page.locator("#save-documents").click()
    with tempfile.TemporaryDirectory() as folder:
        download.value.save_as(f"{folder}/documents.jsonl")
        answer = subprocess.run([sys.executable, "-"], input=page.locator("#snippet").inner_text(), capture_output=True, text=True, env=environment, cwd=folder)
        check("a long request reads its documents from a file", len(answer.stdout.splitlines()) == 200, answer.stderr[-200:])
    page.fill("#documents", "\n".join(DOCUMENTS))
    page.fill("#query", QUERY)
    page.locator("#link").click()
    page.wait_for_timeout(300)
    link = page.evaluate("navigator.clipboard.readText()")
    other = site.open(site.page(), link.removeprefix(site.url))
    other.wait_for_selector(".row >> visible=true")
    check("a copied link opens the same request and runs it", other.input_value("#query") == QUERY and other.locator("#ranking .row").count() == len(DOCUMENTS), link[:80])


def keyboard(site):
    page = site.open(site.page())
    seen, unseen = [], []
    for _ in range(60):
        page.keyboard.press("Tab")
        here = page.evaluate("""() => { const node = document.activeElement; if (node === document.body) return null;
            const ring = node.matches(".switch input") ? node.nextElementSibling : node; const style = getComputedStyle(ring);
            return { id: node.id, html: node.outerHTML.slice(0, 60), ring: (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2) || style.boxShadow !== "none" }; }""")
        if here is None:
            break
        seen.append(here["id"])
        if not here["ring"]:
            unseen.append(here["html"])
    wanted = ["key", "theme", "query", "documents", "open", "run", "compare"]
    check("Tab reaches everything", all(name in seen for name in wanted), f"{seen}")
    check("what has the focus can be seen", not unseen, f"{unseen[:3]}")
    page.reload()
    page.wait_for_selector("#server[data-state=ready]", state="attached")
    page.keyboard.press("/")
    page.keyboard.type(QUERY)
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement.id") != "documents":
        page.keyboard.press("Tab")
    page.keyboard.insert_text("\n".join(DOCUMENTS))
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".row >> visible=true")
    check("a request needs no mouse", page.locator("#ranking .row").count() == len(DOCUMENTS))
    page.locator("#result").focus()
    page.keyboard.press("c")
    check("c compares", page.locator("#setting-b").is_visible())
    page.keyboard.press("c")
    page.keyboard.press("?")
    check("? opens the list of keys", page.locator("#help-box").evaluate("(node) => node.open"))
    page.keyboard.press("Escape")
    check("Escape closes it", not page.locator("#help-box").evaluate("(node) => node.open"))
    page.locator("#tab-curl").focus()
    page.keyboard.press("ArrowRight")
    check("arrows change the language", page.evaluate("document.activeElement.id") == "tab-python" and "import requests" in page.locator("#snippet").inner_text())
    page.locator("#query").fill("")
    page.keyboard.press("Control+Enter")
    check("without a query the focus goes there", page.evaluate("document.activeElement.id") == "query" and page.locator("#query-note").is_visible())


def looks(site):
    for scheme in ("light", "dark"):
        for width in (1440, 768, 360):
            phone = {"has_touch": True, "is_mobile": True, "device_scale_factor": 2} if width == 360 else {}
            page = site.open(site.page(width, 780, scheme, **phone))
            name = f"{scheme}-{width}"
            states = []
            for state in ("empty", "ranked", "compared"):
                if state == "ranked":
                    type_request(page, QUERY, "\n".join([*DOCUMENTS, "unbroken" * 60]))
                    page.evaluate("document.getElementById('more').open = true")
                    rank(page)
                if state == "compared":
                    page.locator("label.switch").click()
                    rank(page)
                page.wait_for_timeout(400)
                wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                found = page.evaluate(AUDIT)
                states.append(f"{found['lowest']:.1f}")
                check(f"{name} {state}: nothing to scroll sideways", wide <= 0, f"{wide} px")
                check(f"{name} {state}: names, contrast, targets", not found["problems"], "; ".join(found["problems"][:4]))
                site.shoot(page, f"{name}-{state}")
            page.context.close()
    page = site.open(site.page(scheme="light"))
    page.locator("#theme").click()
    page.locator("#theme").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.reload()
    check("the switch makes it dark, and it stays so", page.evaluate("getComputedStyle(document.body).backgroundColor") == dark == "rgb(17, 22, 26)", dark)
    page = site.open(site.page(reduced_motion="reduce"))
    moving = page.evaluate("[...document.querySelectorAll('*')].filter((node) => parseFloat(getComputedStyle(node).transitionDuration) > 0).length")
    check("nothing moves for those who do not want it", moving == 0, str(moving))


def files(site):
    page = site.open(site.page())
    cases = {
        "a.txt": ("one\ntwo\n\nthree\n", 3), "b.jsonl": ('{"id":"x","text":"one"}\n{"_id":7,"title":"T","text":"two"}\n', 2),
        "c.csv": ('id,text\n1,"one, with ""quotes""\nand a line"\n2,two\n', 2), "d.tsv": ("p1\tthe first\np2\tthe second\n", 2),
        "e.json": (json.dumps({"query": "from a file", "documents": ["one", {"text": "two"}]}), 2),
    }
    for name, (content, count) in cases.items():
        page.set_input_files("#file", {"name": name, "mimeType": "text/plain", "buffer": content.encode()})
        until(page, f"document.getElementById('documents-note').textContent.includes({json.dumps(name)}) || document.getElementById('documents-note').classList.contains('bad')")
        note = page.locator("#documents-note").inner_text()
        check(f"a {name.split('.')[1]} file is read", note.startswith(f"{count} documents"), note)
    check("a request in a file brings its query", page.input_value("#query") == "from a file")
    page.evaluate("""() => { const data = new DataTransfer(); data.items.add(new File(["alpha\\nbeta"], "dropped.txt", { type: "text/plain" }));
        for (const type of ["dragenter", "dragover", "drop"]) window.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true })); }""")
    until(page, "document.getElementById('documents').value === 'alpha\\nbeta'")
    check("a file can be dropped", page.locator("#drop").is_hidden())
    page.set_input_files("#file", {"name": "bad.jsonl", "mimeType": "text/plain", "buffer": b'{"text":"a"}\nnot json\n'})
    page.wait_for_selector("#documents-note.bad")
    check("a broken file is told with its line", "Line 2" in page.locator("#documents-note").inner_text(), page.locator("#documents-note").inner_text())


def faults(site, info):
    page = site.open(site.page(quiet=True))
    type_request(page, QUERY, "\n".join(DOCUMENTS))
    for status, headers, words in [
        (429, {"retry-after": "1"}, "busy"), (503, {}, "no work now"), (504, {}, "deadline"), (413, {}, "Too large"),
        (422, {}, "does not fit"), (424, {}, "no usable score"), (500, {}, "broke in the server"), (404, {}, "does not have that"),
    ]:
        said = dict.fromkeys(("error", "error_type", "message", "detail"), "words of the server")
        page.route("**/v1/rerank", answer_with(status, json.dumps(said), **headers))
        rank(page)
        text = page.locator("#fault").inner_text()
        check(f"{status} is told in plain words", words in text and "words of the server" in text, text)
        if status == 429:
            site.shoot(page, "fault")
            page.unroute("**/v1/rerank")
            page.wait_for_selector("#ranking .row >> visible=true", timeout=6000)
            check("429 is tried again by itself after Retry-After", page.locator("#fault").is_hidden())
        page.unroute("**/v1/rerank")
    page.route("**/v1/rerank", lambda route: route.abort())
    rank(page)
    check("no answer is told", "cannot be reached" in page.locator("#fault").inner_text())
    page.unroute("**/v1/rerank")
    page.route("**/v1/rerank", answer_with(502, "<h1>Bad Gateway</h1>", **{"content-type": "text/html"}))
    rank(page)
    check("an error page of a proxy is told", "away" in page.locator("#fault").inner_text() and "<h1>" not in page.locator("#fault").inner_text())
    page.unroute("**/v1/rerank")
    page.route("**/v1/rerank", lambda route: None)
    page.locator("#run").click()
    page.wait_for_selector("#cancel >> visible=true")
    page.locator("#cancel").click()
    until(page, "document.getElementById('live').textContent === 'Cancelled.'")
    check("a running request can be cancelled", page.locator("#cancel").is_hidden())
    page.unroute("**/v1/rerank")
    page.route("**/v1/rerank", answer_with(401, '{"message":"no key"}'))
    rank(page)
    page.wait_for_selector("#key-box[open]")
    site.shoot(page, "key")
    page.unroute("**/v1/rerank")
    page.fill("#key-value", site.key or "anything")
    page.keyboard.press("Enter")
    until(page, "document.getElementById('fault').hidden && !document.getElementById('key-box').open")
    until(page, "document.getElementById('live').textContent.startsWith('5 documents ranked')")
    check("401 asks for a key and goes on with it", page.locator("#fault").is_hidden())
    page.context.close()
    limit = info.get("limits", {}).get("max_documents")
    if limit and limit <= 20000:
        page = site.open(site.page(quiet=True))
        type_request(page, QUERY, "\n".join(f"document {number}" for number in range(limit + 3)))
        check("too many documents are told before they are sent", "at a time" in page.locator("#documents-note").inner_text(), page.locator("#documents-note").inner_text())
        rank(page)
        check("and the server's refusal is shown", page.locator("#fault").is_visible(), "")
        page.locator("#documents-note button").click()
        check("the first ones can be kept", page.locator("#documents-note").inner_text().startswith(f"{limit:,} documents"), page.locator("#documents-note").inner_text())


def locked(site):
    """What a person sees who has no key yet: the browser's own box before the page, or the page's box on it."""
    try:
        urllib.request.urlopen(urllib.request.Request(site.url, headers={"accept": "text/html"}))
        closed = False
    except urllib.error.HTTPError as error:
        closed = True
        check("the page itself is behind the key", error.code == 401 and error.headers.get("www-authenticate", "").startswith("Basic"), str(error))
    if closed:
        page = site.page()
        page.goto(site.url)
        page.wait_for_selector("#server[data-state=ready]", state="attached")
        type_request(page, QUERY, "\n".join(DOCUMENTS))
        rank(page)
        check("the key in the browser's own box is enough", page.locator("#ranking .row").count() == len(DOCUMENTS))
        return
    page = site.page(quiet=True, http_credentials=None)
    page.goto(site.url)
    page.wait_for_selector("#key-box[open]")
    page.fill("#key-value", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#key-box[open]")
    check("a wrong key is told", "not accepted" in page.locator("#key-why").inner_text())
    page.fill("#key-value", site.key)
    page.keyboard.press("Enter")
    page.wait_for_selector("#server[data-state=ready]")
    check("the right key opens the server", True)


def many(site, info):
    limit = min(info.get("limits", {}).get("max_documents") or 400, 400)
    page = site.open(site.page())
    type_request(page, QUERY, "\n".join(f"{DOCUMENTS[number % 5]} {number}" for number in range(limit)))
    rank(page)
    drawn = page.locator("#ranking .row").count()
    check("a long ranking is drawn a hundred at a time", drawn == min(100, limit), str(drawn))
    while page.locator(".more-rows").is_visible():
        page.locator(".more-rows").click()
    check("and all of it on demand", page.locator("#ranking .row").count() == limit)


def reference(site):
    page = site.open(site.page(1300, 900), "docs")
    page.wait_for_selector(".operation")
    api = site.ask("openapi.json")
    count = sum(method in item for item in api["paths"].values() for method in ("get", "post", "put", "patch", "delete"))
    check("the API page has every route", page.locator(".operation").count() == count, f"{page.locator('.operation').count()} of {count}")
    for name, width, scheme in (("docs", 1300, "light"), ("docs-dark", 1300, "dark"), ("docs-360", 360, "light")):
        page = site.open(site.page(width, 900, scheme), "docs")
        page.wait_for_selector(".operation")
        page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
        found = page.evaluate(AUDIT)
        check(f"{name}: names, contrast, targets", not found["problems"], "; ".join(found["problems"][:4]))
        check(f"{name}: nothing to scroll sideways", page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))
        site.shoot(page, name)
    page = site.open(site.page(), "docs")
    page.wait_for_selector(".operation")
    page.fill("#find", "rerank")
    check("a route can be found", 0 < page.locator("#contents li:visible").count() < count)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--key", default="")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--only", nargs="*")
    given = parser.parse_args()
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=given.chromium, args=["--headless=new", "--no-sandbox"])
        site = Site(given.url, given.key, browser, given.out)
        info = site.ask("info")
        allowed = {"authorization": f"Bearer {given.key}"} if given.key else {}
        with urllib.request.urlopen(urllib.request.Request(site.url + "page.js", headers=allowed)) as response:
            check("scripts are served as scripts", "javascript" in response.headers.get("content-type", ""), response.headers.get("content-type"))
        with urllib.request.urlopen(urllib.request.Request(site.url, headers=allowed)) as response:
            policy = response.headers.get("content-security-policy", "")
            check("a strict policy is sent with the page", re.match(r"default-src '(self|none)'", policy) and "unsafe" not in policy, policy or "none")
        parts = {"ranks": ranks, "compares": lambda site: compares(site, info), "copies": copies, "keyboard": keyboard, "looks": looks, "files": files,
                 "faults": lambda site: faults(site, info), "many": lambda site: many(site, info), "reference": reference}
        if given.key:
            parts["locked"] = locked
        for name, part in parts.items():
            if given.only and name not in given.only:
                continue
            try:
                part(site)
            except Exception as error:  # One broken part should not hide the others.
                check(f"{name} runs to its end", False, f"{type(error).__name__}: {str(error)[:400]}")
        check("the console is silent", not site.noise, "; ".join(site.noise[:3]))
        own = re.sub(r"^(\w+://[^/]*).*", r"\1", site.url)
        others = {host for host in site.hosts if host != own and not host.startswith(("blob:", "data:"))}
        check("no request goes to another host", not others, f"{others}")
        browser.close()
    bad = [name for name, good, _ in checks if not good]
    print(f"\n{len(checks) - len(bad)} of {len(checks)} checks are good, in {time.monotonic() - start:.0f} s")
    for name in bad:
        print(f"  BAD {name}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
