//! `model.template`: a template by its name, or written out.

use serde::{Deserialize, Serialize};
use tamis_data::RowTemplate;

/// What stands around query and document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TemplateRecipe {
    /// One of those that have a name.
    Named(String),
    /// Its segments.
    Written(RowTemplate),
}

impl TemplateRecipe {
    /// The template.
    ///
    /// # Errors
    /// When there is none of that name; then the names that there are.
    pub fn find(&self) -> Result<RowTemplate, String> {
        match self {
            Self::Written(template) => Ok(template.clone()),
            Self::Named(name) => {
                let mut named = RowTemplate::named();
                named.remove(name.as_str()).ok_or_else(|| {
                    let known: Vec<&str> = named.into_keys().collect();
                    format!("model.template: expected {}, found `{name}`", known.join(", "))
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_named_or_written_out() {
        #[derive(Deserialize)]
        struct Model {
            template: TemplateRecipe,
        }
        let read = |text: &str| toml::from_str::<Model>(text).unwrap().template.find();
        assert_eq!(read("template = 'bge'"), Ok(RowTemplate::named().remove("bge").unwrap()));
        let written =
            read("template = { segments = [{ text = 'q {query}' }, { text = '{document}' }] }");
        assert_eq!(written.unwrap().segments.len(), 2);
        let error = read("template = 'chat'").unwrap_err();
        assert!(error.starts_with("model.template: expected bge, bge-predict"), "{error}");
    }
}
