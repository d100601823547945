//! From counts of an event to bounds on its probability, and from those to bounds on a loss.

/// The bounds hold together but for this probability.
pub const FALSE_FAILURE: f64 = 1e-9;

/// How often an event happened.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    pub hits: u32,
    pub runs: u32,
}

impl Count {
    /// Clopper and Pearson 1934: the event's probability lies below this with probability at most `miss`.
    pub fn lower(self, miss: f64) -> f64 {
        let (hits, runs) = (f64::from(self.hits), f64::from(self.runs));
        // P[at least `hits` of `runs`] = I_p(hits, runs − hits + 1), which grows with p.
        if self.hits == 0 { 0.0 } else { root(|p| incomplete_beta(hits, runs - hits + 1.0, p) - miss) }
    }

    /// The event's probability lies above this with probability at most `miss`.
    pub fn upper(self, miss: f64) -> f64 {
        1.0 - Self { hits: self.runs - self.hits, runs: self.runs }.lower(miss)
    }
}

/// Whether the hits of releases, so many runs being in each, scatter no more than they would if all runs were
/// independent, however likely a hit is. Of such as are, it is denied with probability at most about [`FALSE_FAILURE`].
///
/// With independent runs Σ (hits − mean)² over their variance is nearly distributed as χ², which exceeds its d degrees of
/// freedom by 2·√(d·x) + 2·x with probability at most e⁻ˣ (Laurent and Massart 2000, lemma 1).
pub fn scatter_as_independent(hits: &[u32], runs: u32) -> bool {
    let releases = hits.len() as f64;
    if releases < 2.0 {
        return true;
    }
    let mean = hits.iter().copied().map(f64::from).sum::<f64>() / releases;
    let variance = mean * (1.0 - mean / f64::from(runs));
    let squares: f64 = hits.iter().map(|hits| (f64::from(*hits) - mean).powi(2)).sum();
    let (freedom, x) = (releases - 1.0, -FALSE_FAILURE.ln());
    squares <= variance * (freedom + 2.0 * (freedom * x).sqrt() + 2.0 * x)
}

/// ρ of the Gaussian trade-off curve through (q, p), p being at most the event's probability at the one neighbour and q
/// at least that at the other: μ ≥ Φ⁻¹(p) − Φ⁻¹(q) (Dong, Roth and Su 2022, definition 2.1), and ρ = μ²/2.
pub fn rho_by_trade_off(p: f64, q: f64) -> f64 {
    if p <= q || p <= 0.0 || q >= 1.0 { 0.0 } else { (normal_quantile(p) - normal_quantile(q)).powi(2) / 2.0 }
}

/// The ρ that no mechanism can be below whose event has these probabilities, whatever its noise: whether the event
/// happened is post-processing, so that its Rényi divergence is at most ρα at every order α (Bun and Steinke 2016,
/// definition 1.1 and lemma 1.8).
pub fn rho_by_divergence(p: f64, q: f64) -> f64 {
    if p <= q || p <= 0.0 || q >= 1.0 {
        return 0.0;
    }
    let order = |step: i32| 1.0 + 1.2_f64.powi(step);
    let divergence = |alpha: f64| {
        let part = |p: f64, q: f64| if p == 0.0 { 0.0 } else { (alpha * p.ln() + (1.0 - alpha) * q.ln()).exp() };
        (part(p, q) + part(1.0 - p, 1.0 - q)).ln() / (alpha - 1.0)
    };
    (-25..25).map(order).map(|alpha| divergence(alpha) / alpha).fold(0.0, f64::max)
}

/// The x in [0, 1] at which a growing function passes zero, from below it.
fn root(grows: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if grows(middle) > 0.0 { high = middle } else { low = middle }
    }
    low
}

/// Φ by its Taylor series (Marsaglia 2004, *Evaluating the Normal Distribution*).
fn normal(x: f64) -> f64 {
    let (mut sum, mut term, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-18 {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// Φ⁻¹ between −6 and 6.
fn normal_quantile(p: f64) -> f64 {
    root(|x| normal(12.0 * x - 6.0) - p) * 12.0 - 6.0
}

/// ln Γ for x ≥ 1: Stirling's series from 10 on, the recurrence below.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut below) = (x, 0.0);
    while x < 10.0 {
        below += x.ln();
        x += 1.0;
    }
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5));
    (x - 0.5) * x.ln() - x + (2.0 * std::f64::consts::PI).ln() / 2.0 + series - below
}

/// The regularised incomplete beta function I_x(a, b), for a and b from 1 on, by its continued fraction (DLMF 8.17.22).
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p();
    // Backwards from far enough: the fraction converges within about √max(a, b) terms.
    let terms = 100 + 5 * a.max(b).sqrt() as u32;
    let mut fraction = 1.0;
    for term in (1..=terms).rev() {
        let m = f64::from(term / 2);
        let odd = term % 2 == 1;
        let numerator = if odd {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        } else {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        };
        fraction = 1.0 + numerator / fraction;
    }
    front.exp() / (a * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() <= 1e-9 * other.abs().max(1e-3)
    }

    #[test]
    fn bounds_of_clopper_and_pearson_are_those_of_the_definition() {
        // No hit and all hits have a closed form: (1 − p)ⁿ = miss.
        assert_eq!(Count { hits: 0, runs: 50 }.lower(0.025), 0.0);
        assert!(near(Count { hits: 0, runs: 50 }.upper(0.025), 1.0 - 0.025_f64.powf(1.0 / 50.0)));
        assert!(near(Count { hits: 50, runs: 50 }.lower(0.025), 0.025_f64.powf(1.0 / 50.0)));
        // In between: the tail of the binomial distribution, summed term by term, is what was allowed.
        for (hits, runs) in [(1, 10), (7, 20), (300, 1_000), (999, 1_000), (4_000, 9_000)] {
            let p = Count { hits, runs }.lower(1e-10);
            let ln = |k: u32| ln_gamma(f64::from(k) + 1.0);
            let term = |k: u32| {
                let (k_, rest) = (f64::from(k), f64::from(runs - k));
                (ln(runs) - ln(k) - ln(runs - k) + k_ * p.ln() + rest * (1.0 - p).ln()).exp()
            };
            let tail: f64 = (hits..=runs).map(term).sum();
            assert!((tail / 1e-10 - 1.0).abs() < 1e-6, "{hits} of {runs}: {tail}");
        }
    }

    #[test]
    fn hits_that_scatter_as_independent_runs_do_are_told_from_such_as_share_their_noise() {
        // Of 400 runs half hit, give or take 10 by chance alone. Where the runs of a release share a tenth of their
        // noise it is about √0.1 · 400/√(2π).
        let by = |deviation: f64| -> Vec<u32> {
            let of = |place: u32| 200.0 + deviation * normal_quantile((f64::from(place) + 0.5) / 300.0);
            (0..300).map(|place| of(place).round().clamp(0.0, 400.0) as u32).collect()
        };
        assert!(scatter_as_independent(&by(10.0), 400) && scatter_as_independent(&by(12.0), 400));
        assert!(!scatter_as_independent(&by(51.0), 400));
        assert!(!scatter_as_independent(&[0, 400, 400, 0, 0, 400], 400));
        assert!([&[0, 0, 0][..], &[200], &[]].iter().all(|hits| scatter_as_independent(hits, 400)));
    }

    #[test]
    fn the_normal_distribution_and_its_inverse_are_right_where_tables_have_them() {
        assert!(near(normal(1.959_963_984_540_054), 0.975));
        assert!(near(normal_quantile(0.975), 1.959_963_984_540_054));
        assert!(near(normal_quantile(1e-4), -3.719_016_485_455_709));
    }

    #[test]
    fn a_pair_on_the_curve_of_a_gaussian_gives_back_its_loss_and_divergence_gives_less() {
        for mu in [0.1_f64, 0.3, 1.0] {
            for threshold in [-1.0, 0.0, 0.5, 2.0] {
                let (p, q) = (1.0 - normal(threshold - mu), 1.0 - normal(threshold));
                let rho = mu * mu / 2.0;
                assert!((rho_by_trade_off(p, q) / rho - 1.0).abs() < 1e-6);
                assert!(rho_by_divergence(p, q) <= rho);
            }
            // A cut in the middle keeps 2/π of a small loss.
            let (p, q) = (normal(mu / 2.0), normal(-mu / 2.0));
            assert!(rho_by_divergence(p, q) > 0.6 * mu * mu / 2.0);
        }
        assert_eq!(rho_by_trade_off(0.3, 0.4), 0.0);
    }
}
