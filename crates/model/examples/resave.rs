//! Every checkpoint of a folder, loaded and saved again: what `testdata/roundtrip.py` compares.

#![expect(clippy::print_stdout, reason = "a program says what it did")]

use std::path::PathBuf;

use burn::tensor::Device;
use tamis_model::{Settings, checkpoint};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [from, to] = folders.as_slice() else {
        return Err("usage: resave FROM TO".into());
    };
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (name, source) = entry.map(|entry| (entry.file_name(), entry.path()))?;
        let loaded = match checkpoint::load(&source, None, &Device::flex()) {
            Ok(loaded) => loaded,
            Err(error) => {
                println!("left out {error}");
                continue;
            }
        };
        let settings = Settings::read(&source, &loaded.config)?;
        let contents = checkpoint::Contents {
            model: &loaded.model,
            config: &loaded.config,
            settings: &settings,
            tokenizer: &source,
        };
        checkpoint::save(contents, &to.join(&name))?;
        println!("saved {}", to.join(&name).display());
    }
    Ok(())
}
