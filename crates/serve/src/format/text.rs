//! A text as clients write it: a string, or an object with one in it.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::request::Document;

/// A string, or an object: `{"text": "..."}`, `{"id": "d7", "text": "..."}`, `{"id": "d7"}` for a document of the
/// model's store, the fields that `rank_fields` names, or vLLM's `{"content": [{"type": "text", "text": "..."}]}`.
#[derive(Debug, Clone, PartialEq)]
pub enum TextInput {
    /// The text itself.
    Text(String),
    /// A text among other fields.
    Object(Map<String, Value>),
}

impl<'de> Deserialize<'de> for TextInput {
    // By hand: the derived one for either kind would first copy every text, and say less when it fails.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Kinds;

        impl<'de> Visitor<'de> for Kinds {
            type Value = TextInput;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an object with a text")
            }

            fn visit_str<E>(self, text: &str) -> Result<TextInput, E> {
                Ok(TextInput::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<TextInput, E> {
                Ok(TextInput::Text(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextInput, A::Error> {
                Map::deserialize(MapAccessDeserializer::new(map)).map(TextInput::Object)
            }
        }

        deserializer.deserialize_any(Kinds)
    }
}

impl PartialSchema for TextInput {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let object = ObjectBuilder::new()
            .property("id", ObjectBuilder::new().schema_type(Type::String))
            .property("text", ObjectBuilder::new().schema_type(Type::String));
        OneOfBuilder::new().item(text).item(object).into()
    }
}

impl ToSchema for TextInput {}

impl TextInput {
    /// The candidate, made of the named fields of an object or of its text.
    pub(super) fn document(self, fields: Option<&[String]>) -> Result<Document, String> {
        let mut object = match self {
            Self::Text(text) => return Ok(Document { id: None, text: Some(text) }),
            Self::Object(object) => object,
        };
        let id = match object.remove("id") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) => Some(id),
            Some(Value::Number(id)) => Some(id.to_string()),
            Some(_) => return Err("id: expected a string or a number".to_owned()),
        };
        let text = match fields {
            Some(fields) if !fields.is_empty() => Some(joined(&object, fields)?),
            _ => own_text(object)?,
        };
        match (&id, &text) {
            (None, None) => Err("expected a string, or an object with `text` or `id`".to_owned()),
            _ => Ok(Document { id, text }),
        }
    }

    /// The text alone, of a query.
    pub(super) fn query(self) -> Result<String, String> {
        let document = self.document(None)?;
        document.text.ok_or_else(|| "expected a string, or an object with `text`".to_owned())
    }
}

/// What an object says itself.
fn own_text(mut object: Map<String, Value>) -> Result<Option<String>, String> {
    match object.remove("text") {
        Some(Value::String(text)) => return Ok(Some(text)),
        None | Some(Value::Null) => {}
        Some(_) => return Err("text: expected a string".to_owned()),
    }
    if object.contains_key("image") {
        return Err("image: this model reads text only".to_owned());
    }
    let Some(content) = object.remove("content") else { return Ok(None) };
    let parts = match content {
        Value::String(text) => return Ok(Some(text)),
        Value::Array(parts) => parts,
        _ => return Err("content: expected a string or a list".to_owned()),
    };
    let part = |part: &Value| {
        let text = part.get("text").and_then(Value::as_str);
        text.ok_or_else(|| {
            "content: expected parts of type `text`; this model reads text only".to_owned()
        })
        .map(str::to_owned)
    };
    Ok(Some(parts.iter().map(part).collect::<Result<Vec<_>, _>>()?.join("\n")))
}

/// One field as it is; several as lines of name and value, as Cohere does.
fn joined(object: &Map<String, Value>, fields: &[String]) -> Result<String, String> {
    let value = |name: &String| match object.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Null) | None => {
            Err(format!("there is no field `{name}`, which rank_fields names"))
        }
        Some(other) => Ok(other.to_string()),
    };
    if let [field] = fields {
        return value(field);
    }
    let line = |name: &String| Ok(format!("{name}: {}", value(name)?));
    Ok(fields.iter().map(line).collect::<Result<Vec<_>, String>>()?.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        json: &str,
        fields: Option<&[&str]>,
    ) -> Result<(Option<String>, Option<String>), String> {
        let fields: Option<Vec<String>> =
            fields.map(|fields| fields.iter().map(|&field| field.to_owned()).collect());
        let input: TextInput = serde_json::from_str(json).map_err(|error| error.to_string())?;
        input.document(fields.as_deref()).map(|document| (document.id, document.text))
    }

    #[test]
    fn documents_come_in_many_shapes() {
        let text = |text: &str| Ok((None, Some(text.to_owned())));
        assert_eq!(read(r#""a""#, None), text("a"));
        assert_eq!(read(r#"{"text": "a", "id": null, "more": [1]}"#, None), text("a"));
        assert_eq!(read(r#"{"content": [{"type": "text", "text": "a"}]}"#, None), text("a"));
        assert_eq!(read(r#"{"content": "a"}"#, None), text("a"));
        assert_eq!(read(r#"{"title": "t", "text": "a"}"#, Some(&["title"])), text("t"));
        assert_eq!(
            read(r#"{"title": "t", "year": 7, "text": "a"}"#, Some(&["title", "year"])),
            text("title: t\nyear: 7"),
        );
        assert_eq!(read(r#"{"id": 7}"#, None), Ok((Some("7".to_owned()), None)));
        let both = Ok((Some("d".to_owned()), Some("a".to_owned())));
        assert_eq!(read(r#"{"id": "d", "text": "a"}"#, None), both);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for (json, problem) in [
            ("7", "expected a string or an object"),
            ("null", "expected a string or an object"),
            ("[]", "expected a string or an object"),
            ("{}", "expected a string, or an object with `text` or `id`"),
            (r#"{"text": 7}"#, "text: expected a string"),
            (r#"{"id": [], "text": "a"}"#, "id: expected a string or a number"),
            (r#"{"image": "x"}"#, "reads text only"),
            (r#"{"content": [{"type": "image_url"}]}"#, "reads text only"),
        ] {
            let found = read(json, None).unwrap_err();
            assert!(found.contains(problem), "{json}: {found}");
        }
        assert!(
            read(r#"{"text": "a"}"#, Some(&["title"])).unwrap_err().contains("no field `title`")
        );
    }
}
