//! Scalar functions written so that the compiler can run sixteen of them at once.
//!
//! `mul_add` is one instruction where functions that use these are compiled for machines that have it, as every
//! `multiversion` of this crate is; elsewhere it is right, and slow.

/// `e^x` with a relative error below 2e-7; 0 below -87.3, as close as `f32` gets.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Cody and Waite's reduction, x = n ln 2 + r, then a polynomial for e^r (Cephes' expf). Adding
    // 1.5 * 2^23 rounds to an integer and leaves it in the low bits: no conversion, which would have
    // to check for NaN and overflow.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.3, 88.0);
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_4, clamped));
    let p = 1.987_569_1e-4_f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 5e-1);
    let p = (p * r).mul_add(r, r) + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    let value = p * power;
    if x < -87.3 { 0.0 } else { value }
}

/// The normal distribution function and `e^(-x²/2)`, which its derivative needs too.
#[inline(always)]
pub(super) fn normal_cdf(x: f32) -> (f32, f32) {
    // Abramowitz and Stegun 7.1.26.
    let a = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / a.mul_add(0.327_591_1, 1.0);
    let p = 1.061_405_4_f32;
    let p = p.mul_add(t, -1.453_152);
    let p = p.mul_add(t, 1.421_413_8);
    let p = p.mul_add(t, -0.284_496_74);
    let p = p.mul_add(t, 0.254_829_6) * t;
    let density = exp(-a * a);
    let tail = 0.5 * p * density;
    (if x < 0.0 { tail } else { 1.0 - tail }, density)
}

/// The logistic function.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The hyperbolic tangent, with an absolute error below 2e-7.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + exp(2.0 * x))
}

/// Sixteen running sums, added up in a fixed order at the end.
#[inline(always)]
pub(super) fn lanes(sums: [f32; 16]) -> f32 {
    let mut width = 8;
    let mut sums = sums;
    while width > 0 {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
        width /= 2;
    }
    sums[0]
}

/// The sum of `value(i)` for `i` in `0..n`, in sixteen lanes.
#[inline(always)]
pub(super) fn sum(n: usize, value: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [0.0; 16];
    let full = n / 16 * 16;
    for start in (0..full).step_by(16) {
        for (lane, total) in sums.iter_mut().enumerate() {
            *total += value(start + lane);
        }
    }
    for i in full..n {
        sums[i - full] += value(i);
    }
    lanes(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_that_of_the_standard_library() {
        for i in -8_700..=8_700 {
            let x = i as f32 / 100.0;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 2e-7, "exp({x}) is off by {error:e}");
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn normal_cdf_agrees_with_tables() {
        // Values of Φ from statistical tables (ten digits).
        let table =
            [(0.0, 0.5), (1.0, 0.841_344_746_1), (-1.0, 0.158_655_253_9), (3.0, 0.998_650_102)];
        for (x, expected) in table {
            assert!((f64::from(normal_cdf(x).0) - expected).abs() < 2e-7);
        }
        assert_eq!(normal_cdf(-20.0).0, 0.0);
        assert_eq!(normal_cdf(20.0).0, 1.0);
    }

    #[test]
    fn lanes_sum_everything_once() {
        for n in [0, 1, 15, 16, 17, 100] {
            assert_eq!(sum(n, |i| i as f32), (n * n.saturating_sub(1) / 2) as f32);
        }
    }
}
