// Reads JSON schemas of an OpenAPI document: what a reference points to, what a type is called, what an example looks like.

/** Follows references and merges `allOf`; undefined for what points nowhere. */
export function resolve(api, node, depth = 0) {
  if (!node || depth > 12) return undefined;
  if (node.$ref) {
    const target = node.$ref.replace(/^#\//, "").split("/").reduce((place, part) => place?.[part.replaceAll("~1", "/").replaceAll("~0", "~")], api);
    return resolve(api, target, depth + 1);
  }
  if (node.allOf) {
    const parts = node.allOf.map((part) => resolve(api, part, depth + 1)).filter(Boolean);
    return {
      ...Object.assign({}, ...parts, node),
      allOf: undefined,
      properties: Object.assign({}, ...parts.map((part) => part.properties ?? {}), node.properties ?? {}),
      required: [...parts.flatMap((part) => part.required ?? []), ...(node.required ?? [])],
    };
  }
  return node;
}

/** A type in a few words: `string`, `list of string or object`, `integer or null`. */
export function typeOf(api, given, depth = 0) {
  const schema = resolve(api, given);
  if (!schema || depth > 4) return "any";
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return [...new Set(choices.map((choice) => typeOf(api, choice, depth + 1)))].join(" or ");
  const types = [schema.type ?? (schema.properties ? "object" : schema.enum ? "string" : "any")].flat();
  const names = types.map((type) => {
    if (type === "array") return `list of ${typeOf(api, schema.items, depth + 1)}`;
    return type;
  });
  if (schema.nullable && !names.includes("null")) names.push("null");
  return names.join(" or ");
}

/** An example: the schema's own where it has one, otherwise one made of its types. */
export function exampleOf(api, given, depth = 0) {
  const schema = resolve(api, given);
  if (!schema || depth > 6) return undefined;
  for (const known of [given.example, schema.example, given.examples?.[0], schema.examples?.[0], schema.const]) if (known !== undefined) return known;
  if (given.default !== undefined && given.default !== null) return given.default;
  if (schema.enum) return schema.enum[0];
  const choices = (schema.oneOf ?? schema.anyOf ?? []).filter((choice) => resolve(api, choice)?.type !== "null");
  if (choices.length) return exampleOf(api, choices[0], depth + 1);
  const type = [schema.type].flat().find((name) => name !== "null");
  if (schema.properties) {
    const required = new Set(schema.required ?? []);
    const fields = Object.entries(schema.properties).filter(([name]) => !required.size || required.has(name));
    return Object.fromEntries(fields.map(([name, field]) => [name, exampleOf(api, field, depth + 1)]).filter(([, value]) => value !== undefined));
  }
  if (type === "array") return [exampleOf(api, schema.items, depth + 1)].filter((value) => value !== undefined);
  return { string: "text", integer: 0, number: 0, boolean: false, object: {} }[type];
}
