//! Texts into a WordPiece tokenizer of one's own, saved as Hugging Face files.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use rayon::prelude::*;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::wordpiece::{WordPiece, WordPieceTrainerBuilder};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer, Tokenizer, Trainer,
};

use crate::error::{Error, ErrorKind, Result};

/// How a vocabulary is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VocabularyConfig {
    /// The most tokens it may have, special tokens included.
    pub size: usize,
    /// Pairs seen less often than this are never merged.
    pub min_frequency: u64,
    /// The most different characters it may know; rarer ones become `[UNK]`.
    pub alphabet: usize,
    /// Whether case and accents are dropped.
    pub lowercase: bool,
}

impl Default for VocabularyConfig {
    fn default() -> Self {
        Self { size: 8192, min_frequency: 2, alphabet: 1000, lowercase: true }
    }
}

const SPECIALS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const CLS: u32 = 2;
const SEP: u32 = 3;
const CONTINUED: &str = "##";
// A word is handed to the trainer once per occurrence; this bounds how many copies exist at a time.
const COPIES: u64 = 4096;

/// Trains a WordPiece vocabulary with BERT's normalisation, word splitting and special tokens.
///
/// The same texts give the same tokenizer, whatever their order and the number of threads: ids go to
/// the special tokens, then to characters by code point, then to merges by frequency (ties by id).
///
/// # Errors
/// When there is no word in the texts, or `size` does not even hold the characters.
pub fn train<T: AsRef<str> + Send>(
    texts: impl Iterator<Item = T> + Send,
    config: &VocabularyConfig,
) -> Result<Tokenizer> {
    let normalizer = BertNormalizer::new(true, true, None, config.lowercase);
    let words = count_words(texts, &normalizer)?;
    if words.is_empty() {
        return Err(
            ErrorKind::Invalid("no word in the texts to make a vocabulary of".into()).into()
        );
    }
    let alphabet = most_frequent_characters(&words, config.alphabet);
    let continued: Vec<String> = alphabet.iter().map(|c| format!("{CONTINUED}{c}")).collect();
    let least = SPECIALS.len() + alphabet.len() + continued.len();
    if least > config.size {
        return Err(ErrorKind::Invalid(format!(
            "vocabulary size `{}` does not hold {} special tokens and {} characters in two forms",
            config.size,
            SPECIALS.len(),
            alphabet.len(),
        ))
        .into());
    }

    // The trainer would number the continued characters in the order of a randomly seeded hash map, and
    // break ties by these numbers. Declared up front as "special" they have a fixed place; the list of
    // special tokens that it returns is not used.
    let declared = SPECIALS.into_iter().chain(continued.iter().map(String::as_str));
    let mut trainer = WordPieceTrainerBuilder::new()
        .vocab_size(config.size)
        .min_frequency(config.min_frequency)
        .limit_alphabet(alphabet.len())
        .initial_alphabet(alphabet.into_iter().collect())
        .special_tokens(declared.map(|token| AddedToken::from(token, true)).collect())
        .show_progress(false)
        .build();
    let portions = words.iter().flat_map(|(word, &count)| {
        (0..count.div_ceil(COPIES))
            .map(move |i| format!("{} {word}", COPIES.min(count - i * COPIES)))
    });
    let failed = |error| Error::from(ErrorKind::Invalid(format!("vocabulary training: {error}")));
    trainer
        .feed(portions, |portion| {
            let (count, word) = portion.split_once(' ').ok_or("a count and a word")?;
            Ok(vec![word.to_owned(); count.parse()?])
        })
        .map_err(failed)?;
    let mut model = WordPiece::builder().unk_token("[UNK]".to_owned()).build().map_err(failed)?;
    trainer.train(&mut model).map_err(failed)?;
    assemble(model, normalizer)
}

/// Writes `tokenizer.json` and `tokenizer_config.json` into an existing folder.
///
/// `max_length` is the longest input the model takes, which is what `transformers` truncates to.
///
/// # Errors
/// When a file cannot be written; a file that is there is complete.
pub fn save(tokenizer: &Tokenizer, max_length: usize, folder: &Path) -> Result<()> {
    let lowercase =
        serde_json::to_value(tokenizer.get_normalizer()).map_err(ErrorKind::Json)?["lowercase"]
            .clone();
    let config = serde_json::json!({
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": lowercase,
        "strip_accents": null,
        "tokenize_chinese_chars": true,
        "model_max_length": max_length,
        "pad_token": SPECIALS[0],
        "unk_token": SPECIALS[1],
        "cls_token": SPECIALS[2],
        "sep_token": SPECIALS[3],
        "mask_token": SPECIALS[4],
    });
    write_whole(
        &folder.join("tokenizer.json"),
        &serde_json::to_vec(tokenizer).map_err(ErrorKind::Json)?,
    )?;
    write_whole(
        &folder.join("tokenizer_config.json"),
        &serde_json::to_vec_pretty(&config).map_err(ErrorKind::Json)?,
    )
}

fn assemble(model: WordPiece, normalizer: BertNormalizer) -> Result<Tokenizer> {
    let special = |id: u32| (SPECIALS[id as usize].to_owned(), id);
    let template = TemplateProcessing::builder()
        .try_single("[CLS]:0 $A:0 [SEP]:0")
        .and_then(|builder| builder.try_pair("[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"))
        .map_err(|error| ErrorKind::Invalid(format!("vocabulary template: {error}")))?
        .special_tokens(vec![special(CLS), special(SEP)])
        .build()
        .map_err(|error| ErrorKind::Invalid(format!("vocabulary template: {error}")))?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer
        .with_normalizer(Some(normalizer))
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(template))
        .with_decoder(Some(WordPieceDecoder::default()));
    tokenizer.add_special_tokens(&SPECIALS.map(|token| AddedToken::from(token, true)));
    Ok(tokenizer)
}

fn count_words<T: AsRef<str> + Send>(
    texts: impl Iterator<Item = T> + Send,
    normalizer: &BertNormalizer,
) -> Result<BTreeMap<String, u64>> {
    let counted: HashMap<String, u64> = texts
        .par_bridge()
        .try_fold(HashMap::new, |mut counts, text| {
            for word in split_words(text.as_ref(), normalizer)? {
                *counts.entry(word).or_default() += 1;
            }
            Ok(counts)
        })
        .try_reduce(HashMap::new, |mut all, some| {
            for (word, count) in some {
                *all.entry(word).or_default() += count;
            }
            Ok(all)
        })
        .map_err(|error: tokenizers::Error| {
            ErrorKind::Invalid(format!("vocabulary training: {error}"))
        })?;
    Ok(counted.into_iter().collect())
}

fn split_words(text: &str, normalizer: &BertNormalizer) -> tokenizers::Result<Vec<String>> {
    let mut normalized = NormalizedString::from(text);
    normalizer.normalize(&mut normalized)?;
    let mut words = PreTokenizedString::from(normalized);
    BertPreTokenizer.pre_tokenize(&mut words)?;
    let splits = words.get_splits(OffsetReferential::Original, OffsetType::Byte);
    Ok(splits.into_iter().map(|(word, ..)| word.to_owned()).collect())
}

/// The `limit` most frequent characters (ties by code point), in order of code point.
fn most_frequent_characters(words: &BTreeMap<String, u64>, limit: usize) -> Vec<char> {
    let mut counts: BTreeMap<char, u64> = BTreeMap::new();
    for (word, count) in words {
        for c in word.chars() {
            *counts.entry(c).or_default() += count;
        }
    }
    let mut ranked: Vec<(char, u64)> = counts.into_iter().collect();
    ranked.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    ranked.truncate(limit);
    let mut kept: Vec<char> = ranked.into_iter().map(|(c, _)| c).collect();
    kept.sort_unstable();
    kept
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|error| Error::file(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 4] = [
        "The low lower lowest newer newest wide wider widest",
        "Newer tests lower the lowest bound; the newest test is widest.",
        "Ärger: über naïve façades, x_y = 3.14",
        "数据 low",
    ];

    fn json(texts: &[&str], config: &VocabularyConfig) -> String {
        serde_json::to_string(&train(texts.iter(), config).unwrap()).unwrap()
    }

    #[test]
    fn the_same_texts_in_any_order_give_the_same_tokenizer() {
        let config = VocabularyConfig { size: 120, ..VocabularyConfig::default() };
        let first = json(&TEXTS, &config);
        let mut turned = TEXTS;
        for _ in 0..8 {
            turned.rotate_left(1);
            assert_eq!(json(&turned, &config), first);
        }
    }

    #[test]
    fn frequent_words_become_tokens_and_rare_characters_unknown() {
        let config = VocabularyConfig { size: 110, alphabet: 22, ..VocabularyConfig::default() };
        let tokenizer = train(TEXTS.into_iter(), &config).unwrap();
        assert!(tokenizer.get_vocab_size(true) <= 110);
        for (id, token) in SPECIALS.iter().enumerate() {
            assert_eq!(tokenizer.token_to_id(token), Some(id as u32));
        }
        let encoding = tokenizer.encode(("LOWEST", "数 low"), true).unwrap();
        assert_eq!(encoding.get_tokens(), ["[CLS]", "lowest", "[SEP]", "[UNK]", "low", "[SEP]"]);
        assert_eq!(encoding.get_type_ids(), [0, 0, 0, 1, 1, 1]);
    }

    #[test]
    fn saved_files_read_back_as_the_same_tokenizer() {
        let config = VocabularyConfig { size: 120, ..VocabularyConfig::default() };
        let tokenizer = train(TEXTS.into_iter(), &config).unwrap();
        let folder = tempfile::tempdir().unwrap();
        save(&tokenizer, 128, folder.path()).unwrap();
        let back = Tokenizer::from_file(folder.path().join("tokenizer.json")).unwrap();
        assert_eq!(serde_json::to_value(&back).unwrap(), serde_json::to_value(&tokenizer).unwrap());
        let text = std::fs::read(folder.path().join("tokenizer_config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(config["do_lower_case"], true);
        assert_eq!(config["model_max_length"], 128);
    }

    #[test]
    fn nothing_to_learn_from_is_an_error() {
        let config = VocabularyConfig::default();
        assert!(train(["", " \n"].into_iter(), &config).is_err());
        let small = VocabularyConfig { size: 20, ..config };
        let error = train(TEXTS.into_iter(), &small).unwrap_err();
        assert!(error.to_string().starts_with("vocabulary size `20` does not hold"), "{error}");
    }
}
