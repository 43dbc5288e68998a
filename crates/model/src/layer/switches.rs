//! Which adapters a forward pass uses, beside those that it always uses.

use std::cell::Cell;

/// The ratios and the exits that an adapter is for; empty lists mean all.
pub(crate) type Condition = (Vec<usize>, Vec<usize>);

/// The conditions of adapters that are switched, each a bit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Switches(Vec<Condition>);

impl Switches {
    /// Another one: its bit, while there is one left.
    pub(crate) fn add(&mut self, ratios: Vec<usize>, exits: Vec<usize>) -> Option<u8> {
        let bit = u8::try_from(self.0.len()).ok().filter(|&bit| bit < 64)?;
        self.0.push((ratios, exits));
        Some(bit)
    }

    /// The conditions, by their bits.
    pub(crate) fn all(&self) -> &[Condition] {
        &self.0
    }
}

thread_local! {
    /// The adapters of the forward pass that this thread is in. Maps look here, so that those without
    /// adapters need to be told nothing.
    static ACTIVE: Cell<u64> = const { Cell::new(0) };
}

/// Runs a forward pass that uses these adapters.
pub(crate) fn with_active<T>(active: u64, forward: impl FnOnce() -> T) -> T {
    /// Puts back what was there, also after a panic.
    struct Restore(u64);
    impl Drop for Restore {
        fn drop(&mut self) {
            ACTIVE.set(self.0);
        }
    }
    let _restore = Restore(ACTIVE.replace(active));
    forward()
}

/// Whether an adapter is used now.
pub(crate) fn is_active(switch: Option<u8>) -> bool {
    switch.is_none_or(|bit| ACTIVE.get() >> bit & 1 == 1)
}
