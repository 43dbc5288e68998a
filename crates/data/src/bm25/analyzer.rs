//! Texts into index terms: words, identifiers, and pairs of CJK characters.

use std::str::FromStr;

use tantivy::tokenizer::{
    Language, LowerCaser, Stemmer, StopWordFilter, TextAnalyzer, Token, TokenStream, Tokenizer,
};

use crate::error::{Error, ErrorKind};

/// What a term is.
///
/// All split at what is neither letter nor digit, fold case, and turn runs of Chinese, Japanese and Korean
/// characters into overlapping pairs. Words of more than 128 characters are cut into pieces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Analyzer {
    /// English: possessives and stop words dropped, words stemmed.
    #[default]
    English,
    /// Any language: words as they are.
    Plain,
    /// English about programs: identifiers are split at `_` and where case changes, then as English.
    Code,
}

impl FromStr for Analyzer {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "english" => Ok(Self::English),
            "plain" => Ok(Self::Plain),
            "code" => Ok(Self::Code),
            _ => Err(ErrorKind::Value {
                field: "analyzer",
                expected: "`english`, `plain` or `code`",
                found: text.to_owned(),
            }
            .into()),
        }
    }
}

impl Analyzer {
    pub(super) fn build(self) -> TextAnalyzer {
        let words = TextAnalyzer::builder(Words { identifiers: self == Self::Code });
        if self == Self::Plain {
            return words.filter(LowerCaser).build();
        }
        let stop_words =
            StopWordFilter::new(Language::English).expect("tantivy has stop words for English");
        words.filter(LowerCaser).filter(stop_words).filter(Stemmer::new(Language::English)).build()
    }
}

/// Splits a text into words, or, with `identifiers`, into the words that identifiers are made of.
#[derive(Clone)]
struct Words {
    identifiers: bool,
}

const LONGEST_WORD: usize = 128;

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream {
        WordStream { words: self.split(text).into_iter(), token: Token::default() }
    }
}

impl Words {
    fn split(&self, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        let mut run: Vec<char> = Vec::new();
        let mut characters = text.chars().peekable();
        while let Some(c) = characters.next() {
            let next = characters.peek().copied().unwrap_or(' ');
            let apostrophe = matches!(c, '\'' | '’') && !self.identifiers;
            if c.is_alphanumeric() {
                let turns = run.last().is_some_and(|&last| is_cjk(last) != is_cjk(c));
                if turns || run.len() == LONGEST_WORD || self.starts_word(&run, c, next) {
                    close(&mut run, &mut words);
                }
                run.push(c);
            } else if apostrophe && next.is_alphabetic() && run.last().is_some_and(|&c| !is_cjk(c))
            {
                run.push('\'');
            } else {
                close(&mut run, &mut words);
            }
        }
        close(&mut run, &mut words);
        words
    }

    /// `fooBar` is `foo Bar` and `HTMLParser` is `HTML Parser`.
    fn starts_word(&self, run: &[char], c: char, next: char) -> bool {
        self.identifiers
            && c.is_uppercase()
            && run.last().is_some_and(|last| {
                last.is_lowercase() || (last.is_uppercase() && next.is_lowercase())
            })
    }
}

fn close(run: &mut Vec<char>, words: &mut Vec<String>) {
    if run.first().is_some_and(|&c| is_cjk(c)) && run.len() > 1 {
        words.extend(run.windows(2).map(|pair| pair.iter().collect::<String>()));
    } else {
        let word = run.strip_suffix(&['\'', 's']).unwrap_or(run);
        if !word.is_empty() {
            words.push(word.iter().collect());
        }
    }
    run.clear();
}

/// Scripts that are written without spaces: Han, Hiragana, Katakana, Hangul.
fn is_cjk(c: char) -> bool {
    matches!(c as u32,
        0x3040..=0x30FF | 0x31F0..=0x31FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xAC00..=0xD7AF
        | 0xF900..=0xFAFF | 0xFF66..=0xFF9F | 0x2_0000..=0x3_FFFF)
}

struct WordStream {
    words: std::vec::IntoIter<String>,
    token: Token,
}

impl TokenStream for WordStream {
    fn advance(&mut self) -> bool {
        let Some(text) = self.words.next() else { return false };
        let position = self.token.position.wrapping_add(1);
        self.token = Token { text, position, ..Token::default() };
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(analyzer: Analyzer, text: &str, expected: &[&str]) {
        let terms: Vec<String> =
            super::super::terms(&mut analyzer.build(), text).into_iter().map(|t| t.text).collect();
        assert_eq!(terms, expected, "{analyzer:?}: {text}");
    }

    #[test]
    fn english_drops_stop_words_and_endings() {
        check(
            Analyzer::English,
            "The dogs' owner's cats don’t RUN",
            &["dog", "owner", "cat", "don't", "run"],
        );
    }

    #[test]
    fn plain_keeps_every_word() {
        check(Analyzer::Plain, "The Straße, x_y 3.14", &["the", "straße", "x", "y", "3", "14"]);
    }

    #[test]
    fn identifiers_come_apart() {
        let terms = ["fn", "html", "parser", "read", "all", "u8", "vec"];
        check(Analyzer::Code, "fn HTMLParser::readAll<u8> -> Vec", &terms);
        check(Analyzer::Code, "MAX_LENGTH io_uring", &["max", "length", "io", "ure"]);
    }

    #[test]
    fn scripts_without_spaces_become_pairs() {
        check(Analyzer::Plain, "水的沸点abc 山", &["水的", "的沸", "沸点", "abc", "山"]);
    }

    #[test]
    fn endless_words_are_cut() {
        check(
            Analyzer::Plain,
            &"ab".repeat(100),
            &["ab".repeat(64).as_str(), "ab".repeat(36).as_str()],
        );
    }
}
