//! The environment's variables into where the hub is, who asks, and where its cache lies.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where the hub is and what is asked of it.
#[derive(Clone, PartialEq, Eq)]
pub struct HubConfig {
    /// The folder that holds `models--ORG--NAME`.
    pub cache: PathBuf,
    /// The address, such as `https://huggingface.co`.
    pub endpoint: String,
    /// Who asks; needed for private and gated models.
    pub token: Option<String>,
    /// Only the cache is used.
    pub offline: bool,
    /// How often a broken download is resumed before it fails.
    pub retries: usize,
}

/// The token stays out of logs.
impl std::fmt::Debug for HubConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("HubConfig")
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("offline", &self.offline)
            .field("retries", &self.retries)
            .finish()
    }
}

impl HubConfig {
    /// Reads the variables that the Hugging Face libraries read: `HF_HUB_CACHE`, `HF_HOME`,
    /// `XDG_CACHE_HOME`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_ENDPOINT`, `HF_HUB_OFFLINE` and
    /// `TRANSFORMERS_OFFLINE`.
    ///
    /// # Errors
    /// When no variable says where the cache lies, not even `HOME`.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let below = |name: &str, path: &str| set(name).map(|root| Path::new(&root).join(path));
        let home = set("HF_HOME")
            .map(PathBuf::from)
            .or_else(|| below("XDG_CACHE_HOME", "huggingface"))
            .or_else(|| below("HOME", ".cache/huggingface"))
            .or_else(|| below("USERPROFILE", ".cache/huggingface"))
            .ok_or_else(|| Error::hub("the cache", "expected HF_HOME or HOME to be set"))?;
        let token_file = set("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        let token = set("HF_TOKEN").or_else(|| std::fs::read_to_string(token_file).ok());
        let is_on = |name: &str| {
            set(name).is_some_and(|value| {
                matches!(value.to_lowercase().as_str(), "1" | "on" | "yes" | "true")
            })
        };
        Ok(Self {
            cache: set("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            endpoint: set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned()),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            offline: is_on("HF_HUB_OFFLINE") || is_on("TRANSFORMERS_OFFLINE"),
            retries: 3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<HubConfig> {
        HubConfig::from_variables(|name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_mean_what_they_mean_elsewhere() {
        let plain = read(&[("HOME", "/home/x")]).unwrap();
        assert_eq!(plain.cache, Path::new("/home/x/.cache/huggingface/hub"));
        assert_eq!(plain.endpoint, "https://huggingface.co");
        assert_eq!((plain.token, plain.offline), (None, false));
        let all = read(&[
            ("HF_HOME", "/hf"),
            ("HOME", "/home/x"),
            ("HF_TOKEN", " secret\n"),
            ("HF_ENDPOINT", "http://mirror"),
            ("HF_HUB_OFFLINE", "True"),
        ])
        .unwrap();
        assert_eq!((all.cache.as_path(), all.offline), (Path::new("/hf/hub"), true));
        assert!(!format!("{all:?}").contains("secret"));
        assert_eq!(
            (all.token.as_deref(), all.endpoint.as_str()),
            (Some("secret"), "http://mirror")
        );
        let cache = read(&[("HOME", "/home/x"), ("HF_HUB_CACHE", "/cache"), ("HF_TOKEN", "")]);
        assert_eq!(cache.unwrap().cache, Path::new("/cache"));
        assert!(read(&[]).unwrap_err().to_string().contains("expected HF_HOME or HOME"));
    }

    #[test]
    fn a_token_may_lie_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "from-file\n").unwrap();
        let config = read(&[("HF_HOME", folder.path().to_str().unwrap())]).unwrap();
        assert_eq!(config.token.as_deref(), Some("from-file"));
    }
}
