//! Documents longer than a row: cut into windows that are scored apart, and one score made of theirs.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// What becomes of a document that does not fit beside its query.
///
/// # Source
/// FirstP, MaxP and SumP: Dai and Callan 2019, "Deeper Text Understanding for IR with Contextual Neural
/// Language Modeling", section 3. Windows here are counted in tokens and may overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LongDocuments {
    /// How the scores of the windows become one.
    pub pooling: WindowPooling,
    /// Tokens of a window; when absent, as many as fit beside the query. [`WindowPooling::First`] always
    /// takes as many as fit.
    pub window: Option<usize>,
    /// Tokens that a window shares with the one before; of a chunk, those that it has beyond its core at
    /// either side.
    pub overlap: usize,
}

/// How the scores of a document's windows become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WindowPooling {
    /// Only the first window is scored; what is beyond is cut and counted.
    #[default]
    First,
    /// The largest.
    Max,
    /// Their mean.
    Mean,
    /// Their sum: longer documents gain where scores are above zero.
    Sum,
    /// The mean of the largest few.
    TopMean(usize),
    /// The mean over as few pieces as fit, all of one length but for the last. With a linear head this is
    /// the score of the pieces' mean vector.
    ///
    /// # Source
    /// OpenNIR's treatment of documents that are too long for BERT. Differs: none of the pieces is padding.
    PiecesMean,
    /// The largest over chunks: cores that follow each other, each read with the `overlap` tokens before
    /// and after it.
    ///
    /// # Source
    /// The Max-P adapter of matchmaker, whose cores of 50 tokens with 7 at either side are `window` 64 and
    /// `overlap` 7. Chunks without a core are not made.
    ChunkMax,
    /// The mean over the same chunks: its Mean-P adapter.
    ChunkMean,
}

impl LongDocuments {
    /// The windows of a document of `n` tokens where `room` tokens fit: at least one, together all of
    /// the document, or for [`WindowPooling::First`] its start.
    pub(crate) fn windows(&self, n: usize, room: usize) -> Vec<Range<usize>> {
        if self.pooling == WindowPooling::First {
            // The encoder cuts at the room and counts it.
            return vec![Range { start: 0, end: n }];
        }
        let window = self.window.map_or(room, |window| window.min(room)).max(1);
        match self.pooling {
            WindowPooling::PiecesMean => {
                let piece = n.div_ceil(n.div_ceil(window).max(1)).max(1);
                return cores(n, piece);
            }
            WindowPooling::ChunkMax | WindowPooling::ChunkMean => {
                // At least one token is the core, however little fits.
                let overlap = self.overlap.min((window - 1) / 2);
                let widen = |core: Range<usize>| {
                    core.start.saturating_sub(overlap)..n.min(core.end + overlap)
                };
                return cores(n, window - 2 * overlap).into_iter().map(widen).collect();
            }
            _ => {}
        }
        let step = window.saturating_sub(self.overlap).max(1);
        let mut windows = vec![Range { start: 0, end: n.min(window) }];
        while let Some(last) = windows.last()
            && last.end < n
        {
            let start = last.start + step;
            windows.push(start..n.min(start + window));
        }
        windows
    }

    /// One score of the windows' scores.
    pub(crate) fn pool(&self, scores: &[f32]) -> f32 {
        let mean = |scores: &[f32]| {
            scores.iter().copied().map(f64::from).sum::<f64>() / scores.len() as f64
        };
        match self.pooling {
            WindowPooling::First => scores[0],
            // NaN must win: a maximum that skips it would hide a broken model.
            WindowPooling::Max | WindowPooling::ChunkMax => {
                scores.iter().copied().fold(f32::NEG_INFINITY, |best, score| {
                    if best.is_nan() || score <= best { best } else { score }
                })
            }
            WindowPooling::Mean | WindowPooling::PiecesMean | WindowPooling::ChunkMean => {
                mean(scores) as f32
            }
            WindowPooling::Sum => scores.iter().copied().map(f64::from).sum::<f64>() as f32,
            WindowPooling::TopMean(n) => {
                let mut sorted = scores.to_vec();
                sorted.sort_by(|a, b| b.total_cmp(a));
                mean(&sorted[..n.clamp(1, sorted.len())]) as f32
            }
        }
    }
}

/// A document cut into parts of one length; the last may be shorter, and an empty document is one part.
fn cores(n: usize, length: usize) -> Vec<Range<usize>> {
    (0..n.max(1)).step_by(length).map(|start| start..n.min(start + length)).collect()
}

impl fmt::Display for WindowPooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("first"),
            Self::Max => f.write_str("max"),
            Self::Mean => f.write_str("mean"),
            Self::Sum => f.write_str("sum"),
            Self::TopMean(n) => write!(f, "top{n}-mean"),
            Self::PiecesMean => f.write_str("pieces-mean"),
            Self::ChunkMax => f.write_str("chunk-max"),
            Self::ChunkMean => f.write_str("chunk-mean"),
        }
    }
}

impl FromStr for WindowPooling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "first" => Ok(Self::First),
            "max" => Ok(Self::Max),
            "mean" => Ok(Self::Mean),
            "sum" => Ok(Self::Sum),
            "pieces-mean" => Ok(Self::PiecesMean),
            "chunk-max" => Ok(Self::ChunkMax),
            "chunk-mean" => Ok(Self::ChunkMean),
            _ => text
                .strip_prefix("top")
                .and_then(|rest| rest.strip_suffix("-mean"))
                .and_then(|n| n.parse().ok())
                .filter(|&n| n > 0)
                .map(Self::TopMean)
                .ok_or_else(|| {
                    format!(
                        "expected first, max, mean, sum, pieces-mean, chunk-max, chunk-mean or top3-mean (any \
                         number), found `{text}`"
                    )
                }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(pooling: WindowPooling, window: Option<usize>, overlap: usize) -> LongDocuments {
        LongDocuments { pooling, window, overlap }
    }

    fn cut(long: LongDocuments, n: usize, room: usize) -> Vec<(usize, usize)> {
        long.windows(n, room).into_iter().map(|window| (window.start, window.end)).collect()
    }

    #[test]
    fn windows_cover_a_document_and_overlap_as_asked() {
        let overlapping = long(WindowPooling::Max, None, 2);
        assert_eq!(cut(overlapping, 0, 5), [(0, 0)]);
        assert_eq!(cut(overlapping, 5, 5), [(0, 5)]);
        assert_eq!(cut(overlapping, 6, 5), [(0, 5), (3, 6)]);
        assert_eq!(cut(overlapping, 11, 5), [(0, 5), (3, 8), (6, 11)]);
        assert_eq!(cut(long(WindowPooling::Max, Some(3), 0), 7, 5), [(0, 3), (3, 6), (6, 7)]);
        // A window never exceeds what fits, and an overlap as large as it still gets on.
        assert_eq!(cut(long(WindowPooling::Max, Some(9), 9), 4, 2), [(0, 2), (1, 3), (2, 4)]);
        assert_eq!(cut(long(WindowPooling::First, None, 2), 11, 5), [(0, 11)]);
        // Pieces are as few as fit, and as equal as whole tokens are.
        let pieces = |n, room| cut(long(WindowPooling::PiecesMean, None, 0), n, room);
        assert_eq!(pieces(0, 5), [(0, 0)]);
        assert_eq!(pieces(5, 5), [(0, 5)]);
        assert_eq!(pieces(11, 5), [(0, 4), (4, 8), (8, 11)]);
        assert_eq!(pieces(6, 5), [(0, 3), (3, 6)]);
        // Cores of three with two tokens around them.
        let chunks = |n, room| cut(long(WindowPooling::ChunkMax, Some(7), 2), n, room);
        assert_eq!(chunks(0, 9), [(0, 0)]);
        assert_eq!(chunks(3, 9), [(0, 3)]);
        assert_eq!(chunks(4, 9), [(0, 4), (1, 4)]);
        assert_eq!(chunks(10, 9), [(0, 5), (1, 8), (4, 10), (7, 10)]);
        // Where so many do not fit there are fewer around, and at least one is the core.
        assert_eq!(chunks(3, 2), [(0, 2), (2, 3)]);
        assert_eq!(chunks(3, 4), [(0, 3), (1, 3)]);
    }

    #[test]
    fn every_token_is_the_core_of_one_chunk_and_has_its_neighbours_there() {
        for n in 1..40 {
            for (window, overlap) in [(1, 0), (2, 1), (5, 1), (7, 2), (7, 3), (9, 20), (64, 7)] {
                let all = cut(long(WindowPooling::ChunkMean, Some(window), overlap), n, 30);
                let window = window.min(30);
                let around = overlap.min((window - 1) / 2);
                let core = window - 2 * around;
                assert_eq!(all.len(), n.div_ceil(core));
                assert!(all.iter().all(|(start, end)| end - start <= window));
                for token in 0..n {
                    let (start, end) = all[token / core];
                    let last = (n - 1).min(token + around);
                    assert!(start <= token.saturating_sub(around) && last < end, "{n} {token}");
                }
            }
        }
    }

    #[test]
    fn scores_are_pooled_by_name() {
        let pool = |name: &str| long(name.parse().unwrap(), None, 0).pool(&[1.0, -2.0, 4.0]);
        assert_eq!(pool("first"), 1.0);
        assert_eq!(pool("max"), 4.0);
        assert_eq!(pool("mean"), 1.0);
        assert_eq!(pool("sum"), 3.0);
        assert_eq!(pool("top2-mean"), 2.5);
        assert_eq!(pool("top9-mean"), 1.0);
        assert!(long(WindowPooling::Max, None, 0).pool(&[f32::NAN, 1.0]).is_nan());
        assert!(long(WindowPooling::Max, None, 0).pool(&[1.0, f32::NAN]).is_nan());
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in
            ["first", "max", "mean", "sum", "top3-mean", "pieces-mean", "chunk-max", "chunk-mean"]
        {
            assert_eq!(name.parse::<WindowPooling>().unwrap().to_string(), name);
        }
        for bad in ["", "top0-mean", "top-mean", "median"] {
            assert!(bad.parse::<WindowPooling>().unwrap_err().contains(&format!("found `{bad}`")));
        }
    }
}
