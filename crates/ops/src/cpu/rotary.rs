//! Heads turned by the angle of their place.

use multiversion::multiversion;
use rayon::prelude::*;

use crate::{Rotary, Rows};

/// Which way heads are turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Forth,
    Back,
}

impl Turn {
    pub(crate) fn back(self) -> Self {
        match self {
            Self::Forth => Self::Back,
            Self::Back => Self::Forth,
        }
    }
}

/// Turns the first `n_heads` heads of every token, and leaves what follows them as it is.
pub(crate) fn turn_in_place(
    x: &mut [f32],
    width: usize,
    rows: &Rows,
    rotary: &Rotary,
    n_heads: usize,
    turn: Turn,
) {
    let sign = if turn == Turn::Forth { 1.0 } else { -1.0 };
    rows.split_mut(x, width).into_par_iter().for_each(|row| {
        for (place, token) in row.chunks_exact_mut(width).enumerate() {
            let (cos, sin) = rotary.angles(place);
            for head in token.chunks_exact_mut(rotary.width()).take(n_heads) {
                turn_head(head, cos, sin, sign);
            }
        }
    });
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn turn_head(head: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
    let (first, second) = head.split_at_mut(cos.len());
    for (((a, b), &cos), &sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
        let sin = sin * sign;
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}
