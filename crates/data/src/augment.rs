//! A text with its parts in another order, to teach a model that order is not everything.

use crate::sample::draw::Draw;

/// Texts of fewer characters stay as they are.
const SHORTEST: usize = 101;

/// Which texts are shuffled: a pure function of seed, epoch and position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextShuffle {
    /// The part of long texts that are shuffled, from 0 to 1.
    pub rate: f64,
    /// Where all randomness comes from.
    pub seed: u64,
}

impl TextShuffle {
    /// Cuts a text of more than 100 characters into three, and joins them in a random order with
    /// spaces; `None` where the text stays.
    ///
    /// # Source
    /// RAG-Retrieval's `shuffle_text`: chunks of `len / 3 + 1` characters. Differs: another draw
    /// every epoch.
    #[must_use]
    pub fn apply(&self, text: &str, epoch: u64, position: u64) -> Option<String> {
        let mut draw = Draw::new("text shuffle", self.seed, epoch, position);
        let ends: Vec<usize> =
            text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect();
        let n_chars = ends.len() - 1;
        if draw.unit() >= self.rate || n_chars < SHORTEST {
            return None;
        }
        let length = n_chars / 3 + 1;
        let mut chunks: Vec<&str> = (0..n_chars)
            .step_by(length)
            .map(|start| &text[ends[start]..ends[(start + length).min(n_chars)]])
            .collect();
        let n = chunks.len();
        draw.shuffle(&mut chunks, n);
        Some(chunks.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_moved_and_nothing_is_lost() {
        // No period: the three parts differ.
        let text: String = (0..150_u32)
            .map(|i| char::from(b'a' + (i * i % 23) as u8))
            .chain("éü漢".chars())
            .collect();
        let all = TextShuffle { rate: 1.0, seed: 4 };
        let chars: Vec<char> = text.chars().collect();
        let expected: Vec<String> = chars.chunks(52).map(|chunk| chunk.iter().collect()).collect();
        let mut orders = std::collections::BTreeSet::new();
        for position in 0..60 {
            let shuffled = all.apply(&text, 0, position).unwrap();
            let mut parts: Vec<&str> = shuffled.split(' ').collect();
            orders.insert(shuffled.clone());
            parts.sort_unstable();
            let mut expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            expected.sort_unstable();
            assert_eq!(parts, expected);
            assert_eq!(all.apply(&text, 0, position), Some(shuffled));
        }
        assert_eq!(orders.len(), 6, "every order of three parts comes");
    }

    #[test]
    fn short_texts_stay_and_the_rate_is_kept() {
        let shuffle = TextShuffle { rate: 0.3, seed: 1 };
        assert!((0..50).all(|p| shuffle.apply(&"x".repeat(100), 0, p).is_none()));
        let long = "x".repeat(101);
        let n = (0..2000).filter(|&p| shuffle.apply(&long, 0, p).is_some()).count();
        assert!((500..700).contains(&n), "{n} of 2000 at a rate of 0.3");
        let never = TextShuffle { rate: 0.0, seed: 1 };
        assert!((0..50).all(|p| never.apply(&long, 0, p).is_none()));
    }
}
