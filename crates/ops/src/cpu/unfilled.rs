//! Results that are written once, without zeros before.

use std::mem::MaybeUninit;

/// `n` numbers from a function that writes them.
///
/// # Safety
/// `write` writes every one of them.
pub(super) unsafe fn unfilled(n: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Vec::with_capacity(n);
    write(&mut values.spare_capacity_mut()[..n]);
    // SAFETY: the caller vouches for it.
    unsafe { values.set_len(n) };
    values
}
