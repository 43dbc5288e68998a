//! Products in the tile registers of AMX: 32 rows by 32 columns at a time.
//!
//! A tile register holds 16 rows of 64 bytes. Four of them are sums, two hold rows of the left side and two hold
//! columns, which lie in a panel just as the instructions want them: 16 words deep, 16 words wide.

use std::arch::asm;
use std::sync::OnceLock;

use super::{Bf16Pair, ByteQuad, COLUMNS, DEPTH, Kernels, LANES, MAX_ROWS, Panel, Product, RowsOf};
use super::{Tile, avx512};

/// Rows of a tile register, and words of each.
const SIDE: usize = 16;

/// The kernels, if this machine has the instructions and the system lets this process use them.
pub(super) fn kernels() -> Option<Kernels> {
    let kernels = avx512::kernels()?;
    is_available().then_some(Kernels {
        name: "avx512+amx",
        bf16: Product { rows: MAX_ROWS, tile: bf16 },
        int8: Product { rows: MAX_ROWS, tile: int8 },
        ..kernels
    })
}

/// What the tile registers are: all eight have 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Layout {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static LAYOUT: Layout = Layout {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Where one product of 32 rows by 32 columns reads and writes. Strides are in bytes.
#[derive(Clone, Copy)]
struct Operands {
    /// Rows 0 to 15 and 16 to 31 of the left side.
    rows: [*const u32; 2],
    row_stride: usize,
    /// Columns 0 to 15 and 16 to 31 of the panel.
    columns: [*const u32; 2],
    column_stride: usize,
    /// How many times 16 words deep both are.
    n_steps: usize,
    /// Row 0 and row 16 of the sums, at the first of the columns.
    sums: [*mut u32; 2],
}

/// Bytes from one row of a tile of sums to the next.
const SUM_STRIDE: usize = COLUMNS * size_of::<u32>();

/// One product, with the instruction that multiplies two tile registers.
macro_rules! product {
    ($name:ident, $multiply:literal) => {
        /// # Safety
        /// The machine has AMX, and all operands are whole: rows and columns `n_steps` times 16
        /// words deep, sums 16 rows of 32 words each.
        unsafe fn $name(operands: Operands) {
            // SAFETY: the caller vouches for every address that is read or written. The layout of the
            // registers is set and released here, so nothing outlives this block.
            unsafe {
                asm!(
                    "ldtilecfg [{layout}]",
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "2:",
                    "tileloadd tmm4, [{a0} + {a_stride}*1]",
                    "tileloadd tmm6, [{b0} + {b_stride}*1]",
                    concat!($multiply, " tmm0, tmm4, tmm6"),
                    "tileloadd tmm7, [{b1} + {b_stride}*1]",
                    concat!($multiply, " tmm1, tmm4, tmm7"),
                    "tileloadd tmm5, [{a1} + {a_stride}*1]",
                    concat!($multiply, " tmm2, tmm5, tmm6"),
                    concat!($multiply, " tmm3, tmm5, tmm7"),
                    "add {a0}, 64",
                    "add {a1}, 64",
                    "add {b0}, {b_step}",
                    "add {b1}, {b_step}",
                    "dec {n}",
                    "jnz 2b",
                    "mov {layout}, {c_stride}",
                    "tilestored [{c0} + {layout}*1], tmm0",
                    "tilestored [{c0} + {layout}*1 + 64], tmm1",
                    "tilestored [{c1} + {layout}*1], tmm2",
                    "tilestored [{c1} + {layout}*1 + 64], tmm3",
                    "tilerelease",
                    // Read once; then the register holds the stride of the sums.
                    layout = inout(reg) &raw const LAYOUT => _,
                    c_stride = const SUM_STRIDE,
                    a0 = inout(reg) operands.rows[0] => _,
                    a1 = inout(reg) operands.rows[1] => _,
                    a_stride = in(reg) operands.row_stride,
                    b0 = inout(reg) operands.columns[0] => _,
                    b1 = inout(reg) operands.columns[1] => _,
                    b_stride = in(reg) operands.column_stride,
                    b_step = in(reg) SIDE * operands.column_stride,
                    n = inout(reg) operands.n_steps => _,
                    c0 = in(reg) operands.sums[0],
                    c1 = in(reg) operands.sums[1],
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

product!(multiply_bf16, "tdpbf16ps");
product!(multiply_int8, "tdpbusd");

fn bf16(a: RowsOf<'_, Bf16Pair>, b: Panel<'_, Bf16Pair>, out: &mut Tile<f32>) {
    // SAFETY: the instructions were detected before this function could be chosen.
    unsafe { panel(a, b, out, multiply_bf16) }
}

fn int8(a: RowsOf<'_, ByteQuad>, b: Panel<'_, ByteQuad>, out: &mut Tile<i32>) {
    // SAFETY: as for `bf16`.
    unsafe { panel(a, b, out, multiply_int8) }
}

/// All columns of a panel, 32 at a time.
///
/// # Safety
/// `multiply` can run here and keeps to its operands.
unsafe fn panel<S>(
    a: RowsOf<'_, u32>,
    b: Panel<'_, u32>,
    out: &mut Tile<S>,
    multiply: unsafe fn(Operands),
) {
    // Few rows are multiplied twice; the second half of the sums then means nothing.
    let second = if a.n_rows > SIDE { SIDE } else { 0 };
    assert!(a.depth > 0 && a.depth.is_multiple_of(DEPTH), "rows are filled up");
    assert!((1..=MAX_ROWS).contains(&a.n_rows), "a tile has at most {MAX_ROWS} rows");
    assert!(
        (second + SIDE - 1) * a.stride + a.depth <= a.values.len(),
        "rows are followed by as many as make a tile whole"
    );
    assert!(a.depth * b.width <= b.values.len(), "the panel is as deep as the rows");
    const { assert!(size_of::<S>() == size_of::<u32>()) };
    let word = size_of::<u32>();
    let n_vectors = b.width / LANES;
    for vector in (0..n_vectors).step_by(2) {
        // A last vector alone is multiplied twice too.
        let other = (vector + 1).min(n_vectors - 1);
        let rows = a.values.as_ptr();
        let columns = b.values.as_ptr();
        let sums = out.0.as_mut_ptr().cast::<u32>();
        // SAFETY: rows, columns and depth were checked above; a tile of sums has 32 rows of 64
        // columns, and `vector` is even and below 4, so 32 columns from it on are within.
        unsafe {
            multiply(Operands {
                rows: [rows, rows.add(second * a.stride)],
                row_stride: a.stride * word,
                columns: [columns.add(vector * LANES), columns.add(other * LANES)],
                column_stride: b.width * word,
                n_steps: a.depth / DEPTH,
                sums: [sums.add(vector * LANES), sums.add(SIDE * COLUMNS + vector * LANES)],
            });
        }
    }
}

/// Whether the machine has tiles of bfloat16 and bytes, and the system has granted them.
fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_instructions() && ask_permission())
}

fn has_instructions() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    /// Bits of leaf 7 for bfloat16, tiles and bytes.
    const NEEDED: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & NEEDED == NEEDED
}

/// The registers are large, so Linux saves them only for processes that ask.
#[cfg(target_os = "linux")]
fn ask_permission() -> bool {
    const REQUEST_STATE: i32 = 0x1023;
    const TILE_DATA: u64 = 18;
    // SAFETY: the call changes which registers this process may use, and no memory.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST_STATE, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn ask_permission() -> bool {
    false
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The kernels with the instructions played by plain Rust, for machines that lack them.
    pub(in super::super) const PLAYED: Kernels = Kernels {
        name: "amx, played",
        bf16: Product { rows: MAX_ROWS, tile: played_bf16 },
        int8: Product { rows: MAX_ROWS, tile: played_int8 },
        ..super::super::portable::KERNELS
    };

    fn played_bf16(a: RowsOf<'_, Bf16Pair>, b: Panel<'_, Bf16Pair>, out: &mut Tile<f32>) {
        // SAFETY: plain Rust runs everywhere.
        unsafe { panel(a, b, out, play_bf16) }
    }

    fn played_int8(a: RowsOf<'_, ByteQuad>, b: Panel<'_, ByteQuad>, out: &mut Tile<i32>) {
        // SAFETY: as above.
        unsafe { panel(a, b, out, play_int8) }
    }

    unsafe fn play_bf16(operands: Operands) {
        // SAFETY: the caller vouches for the operands.
        unsafe { play(operands, bf16_words) }
    }

    unsafe fn play_int8(operands: Operands) {
        // SAFETY: as above.
        unsafe { play(operands, int8_words) }
    }

    fn bf16_words(sum: u32, a: u32, b: u32) -> u32 {
        let low = |pair: u32| f32::from_bits(pair << 16);
        let high = |pair: u32| f32::from_bits(pair & 0xffff_0000);
        (f32::from_bits(sum) + low(a) * low(b) + high(a) * high(b)).to_bits()
    }

    fn int8_words(sum: u32, a: u32, b: u32) -> u32 {
        let bytes = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
        let dot = bytes.fold(0, |dot, (a, b)| dot + i32::from(a) * i32::from(b.cast_signed()));
        sum.wrapping_add(dot.cast_unsigned())
    }

    /// What the instructions do, by the manual's description of `TILELOADD`, `TDPBF16PS`,
    /// `TDPBUSD` and `TILESTORED`.
    unsafe fn play(operands: Operands, add: fn(u32, u32, u32) -> u32) {
        let load = |base: *const u32, stride: usize| -> [[u32; SIDE]; SIDE] {
            std::array::from_fn(|row| {
                std::array::from_fn(|word| {
                    // SAFETY: whoever made the operands vouches for them.
                    unsafe { base.byte_add(row * stride).add(word).read() }
                })
            })
        };
        let mut sums = [[[[0_u32; SIDE]; SIDE]; 2]; 2];
        for step in 0..operands.n_steps {
            for (half, sums) in sums.iter_mut().enumerate() {
                let a = load(operands.rows[half].wrapping_add(step * SIDE), operands.row_stride);
                for (side, sums) in sums.iter_mut().enumerate() {
                    let first = step * SIDE * operands.column_stride;
                    let b = load(
                        operands.columns[side].wrapping_byte_add(first),
                        operands.column_stride,
                    );
                    for m in 0..SIDE {
                        for k in 0..SIDE {
                            for n in 0..SIDE {
                                sums[m][n] = add(sums[m][n], a[m][k], b[k][n]);
                            }
                        }
                    }
                }
            }
        }
        for (half, sums) in sums.iter().enumerate() {
            for (side, sums) in sums.iter().enumerate() {
                for (row, values) in sums.iter().enumerate() {
                    for (word, &value) in values.iter().enumerate() {
                        // SAFETY: as above.
                        unsafe {
                            let row = operands.sums[half].byte_add(row * SUM_STRIDE);
                            row.add(side * SIDE + word).write(value);
                        }
                    }
                }
            }
        }
    }
}
