//! The sampler draws from the operating system and cannot be seeded. Each statistical check therefore has a stated
//! chance of failing by accident, at most 10⁻⁹, and each is run a second time against a planted fault that it must
//! find.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const DRAWS: usize = 20_000;
/// −ln of the false-failure rate of each one-sided bound: 5 · 10⁻¹⁰.
const TAIL: f64 = 21.42;

fn rho(nano: u64) -> Rho {
    Rho::from_nano(nano)
}

/// A scale with that σ, whatever it costs.
fn scale_of(sigma: f64) -> Scale {
    let rho = Rho::at_least(1.0 / (2.0 * sigma * sigma) * 1.000_001).unwrap();
    Scale { sensitivity: 1, share: rho.nano(), sigma, way: Way::Gaussian }
}

fn draws(sigma: f64) -> Vec<i128> {
    scale_of(sigma).draw(DRAWS).unwrap()
}

/// The discrete Gaussian is subgaussian with parameter σ (Canonne, Kamath and Steinke 2020, section 3), so the mean of
/// n draws leaves ±σ√(2 TAIL / n) with probability at most 2 e^−TAIL.
fn mean_is_zero(draws: &[i128], sigma: f64) -> bool {
    let n = draws.len() as f64;
    let mean = draws.iter().sum::<i128>() as f64 / n;
    mean.abs() <= sigma * (2.0 * TAIL / n).sqrt()
}

/// For σ of 10 and more the sum of squares over σ² is χ² with n degrees of freedom to within 10⁻¹⁰⁰; its tails by
/// Laurent and Massart 2000, lemma 1.
fn variance_is(draws: &[i128], sigma: f64) -> bool {
    let n = draws.len() as f64;
    let sum = draws.iter().map(|&x| (x as f64 / sigma).powi(2)).sum::<f64>();
    n - 2.0 * (n * TAIL).sqrt() <= sum && sum <= n + 2.0 * (n * TAIL).sqrt() + 2.0 * TAIL
}

/// Pearson's χ² of the values −3σ…3σ, tails pooled, against the probabilities of the definition. The statistic is
/// asymptotically χ²; every bin expects more than 25 draws, and the bound is doubled for the approximation.
fn histogram_fits(draws: &[i128], sigma: f64) -> bool {
    let edge = (3.0 * sigma).floor() as i128;
    let weight = |x: i128| (-(x as f64).powi(2) / (2.0 * sigma * sigma)).exp();
    let total: f64 = (-40 * edge..=40 * edge).map(weight).sum();
    let mut statistic = 0.0;
    let mut rest = (draws.len() as f64, draws.len() as f64);
    for x in -edge..=edge {
        let expected = draws.len() as f64 * weight(x) / total;
        let seen = draws.iter().filter(|&&draw| draw == x).count() as f64;
        statistic += (seen - expected).powi(2) / expected;
        rest = (rest.0 - expected, rest.1 - seen);
    }
    statistic += (rest.1 - rest.0).powi(2) / rest.0;
    let degrees = (2 * edge + 1) as f64;
    statistic <= 2.0 * (degrees + 2.0 * (degrees * TAIL).sqrt() + 2.0 * TAIL)
}

/// The correlation of independent draws has the standard error 1/√n; twelve of them are allowed. A sum of products of
/// independent Gaussians has exponential tails from there on, and 12²/2 = 72 is well above 21.
fn uncorrelated(a: &[i128], b: &[i128], sigma: f64) -> bool {
    let n = a.len().min(b.len()) as f64;
    let covariance = a.iter().zip(b).map(|(&x, &y)| x as f64 * y as f64).sum::<f64>() / n;
    (covariance / (sigma * sigma)).abs() <= 12.0 / n.sqrt()
}

#[test]
fn noise_has_the_mean_and_variance_of_its_scale() {
    let good = draws(100.0);
    assert!(mean_is_zero(&good, 100.0));
    assert!(variance_is(&good, 100.0));
}

#[test]
fn a_scale_that_is_off_by_a_tenth_is_found() {
    assert!(!variance_is(&draws(110.0), 100.0));
    assert!(!variance_is(&draws(90.0), 100.0));
    let shifted: Vec<_> = draws(100.0).into_iter().map(|x| x + 10).collect();
    assert!(!mean_is_zero(&shifted, 100.0));
}

#[test]
fn noise_has_the_probabilities_of_the_discrete_gaussian() {
    assert!(histogram_fits(&draws(3.0), 3.0));
    assert!(histogram_fits(&draws(0.8), 0.8));
}

#[test]
fn other_probabilities_are_found() {
    assert!(!histogram_fits(&draws(3.3), 3.0));
    assert!(!histogram_fits(&draws(0.9), 0.8));
    // The right variance, but even numbers only.
    let doubled: Vec<_> = draws(1.5).into_iter().map(|x| 2 * x).collect();
    assert!(!histogram_fits(&doubled, 3.0));
}

#[test]
fn noise_of_cells_and_of_primitives_is_independent_and_a_repeated_draw_is_found() {
    let plan =
        NoisePlan { scales: vec![scale_of(50.0); 2], choices: vec![None; 2], cells: vec![DRAWS; 2], selection: None };
    let noise = Noise::draw(&plan).unwrap();
    let [first, second] = noise.expose()[..] else { panic!("two primitives were planned") };
    assert!(uncorrelated(first, second, 50.0));
    assert!(uncorrelated(first, &first[1..], 50.0));
    assert!(!uncorrelated(first, first, 50.0));
    let repeated: Vec<_> = first.iter().flat_map(|&x| [x, x]).take(DRAWS).collect();
    assert!(!uncorrelated(&repeated, &repeated[1..], 50.0));
}

/// A sum of squares over σ² is χ² with as many degrees of freedom as there are cells.
#[test]
fn each_vector_of_a_plan_gets_noise_of_its_own_scale_in_every_cell_however_it_is_cut() {
    let [small, large] = [1 << 40, 1 << 80].map(|squared| Scale::for_loss(squared, rho(500_000_000)).unwrap());
    let scales = vec![small, large, small, small, large];
    let cells = vec![DRAWS, 2 * PIECE, PIECE - 1, PIECE + 1, 1];
    let noise = Noise::draw(&NoisePlan {
        choices: vec![None; 5],
        scales: scales.clone(),
        cells: cells.clone(),
        selection: None,
    })
    .unwrap();
    let drawn = noise.expose();
    assert_eq!(drawn.iter().map(|vector| vector.len()).collect::<Vec<_>>(), cells);
    for (vector, scale) in drawn.iter().zip(&scales).filter(|(vector, _)| vector.len() > 200) {
        assert!(variance_is(vector, scale.sigma()));
    }
    let pieces: std::collections::HashSet<&[i128]> = drawn.iter().flat_map(|vector| vector.chunks(PIECE)).collect();
    assert_eq!(pieces.len(), DRAWS.div_ceil(PIECE) + 2 + 1 + 2 + 1, "no piece is given twice");
}

#[test]
fn one_piece_that_cannot_be_drawn_is_enough_for_nothing_to_be() {
    let good = Scale::for_loss(100, rho(1_000_000)).unwrap();
    let underpaid = Scale { share: 999_999, ..good };
    let plan = |scales| NoisePlan { scales, choices: vec![None; 2], cells: vec![2_000, 1], selection: None };
    assert!(Noise::draw(&plan(vec![good, good])).is_ok());
    assert_eq!(Noise::draw(&plan(vec![good, underpaid])).err(), Some(NoiseError::Underpaid));
}

#[test]
fn every_draw_is_fresh() {
    let scale = scale_of(1e6);
    assert_ne!(scale.draw(8).unwrap(), scale.draw(8).unwrap());
}

/// At σ = 10¹² one of 50,000 numbers is 0 by accident with a probability below 10⁻⁷·0.2; of those left out once in a
/// thousand times none shows with one below e⁻⁵⁰.
#[test]
fn of_many_draws_none_is_left_out() {
    let plan = NoisePlan { scales: vec![scale_of(1e4); 2], choices: vec![None; 2], cells: vec![1; 2], selection: None };
    // The scale that `scale_of` gives is checked against its price; a large one is priced through its sensitivity.
    let large = Scale::for_loss(1 << 80, rho(500_000_000)).unwrap();
    assert!(large.sigma() > 1e12);
    let plan = NoisePlan { scales: vec![large; 2], ..plan };
    for _ in 0..500 {
        let released = Noise::draw(&plan).unwrap().measure(&[vec![7], vec![7]]).unwrap();
        assert!(released.iter().flatten().all(|value| *value != 7), "a value is released as it is");
    }
    let plan = NoisePlan { cells: vec![DRAWS; 2], ..plan };
    let released = Noise::draw(&plan).unwrap().measure(&[vec![7; DRAWS], vec![7; DRAWS]]).unwrap();
    assert!(released.iter().flatten().all(|value| *value != 7), "a value is released as it is");
}

#[test]
fn a_measurement_that_loses_more_than_its_share_is_not_drawn() {
    let good = Scale::for_loss(100, rho(1_000_000)).unwrap();
    assert!(good.draw(1).is_ok());
    let cheap = Scale { share: 999_999, ..good };
    assert_eq!(cheap.draw(1), Err(NoiseError::Underpaid));
    let narrow = Scale { sigma: good.sigma * (1.0 - 1e-14), ..good };
    assert_eq!(narrow.draw(1), Err(NoiseError::Underpaid));
    let sensitive = Scale { sensitivity: 101, ..good };
    assert_eq!(sensitive.draw(1), Err(NoiseError::Underpaid));
}

#[test]
fn losses_and_scales_out_of_range_are_refused() {
    assert_eq!(Scale::for_loss(1, rho(0)), Err(NoiseError::LossTooSmall));
    assert_eq!(Scale::for_loss(1, rho(u64::MAX)), Err(NoiseError::LossTooLarge));
    assert_eq!(Scale::for_loss(u128::MAX, rho(1)), Err(NoiseError::NoiseTooLarge));
    assert_eq!(Scale::for_loss(1 << 120, rho(1_000_000_000)), Err(NoiseError::NoiseTooLarge));
    assert!(Scale::for_loss(1 << 100, rho(1_000_000_000)).is_ok());
    assert_eq!(NoisePlan::split(&[], 1, rho(5)), Err(NoiseError::Shape));
    assert_eq!(NoisePlan::split(&[1], 0, rho(5)), Err(NoiseError::Shape));
    assert_eq!(NoisePlan::split(&[1], 100_001, rho(5)), Err(NoiseError::Shape));
    assert_eq!(NoisePlan::split(&[1; 8_193], 1, rho(10_000)), Err(NoiseError::Shape));
    assert_eq!(NoisePlan::split(&[1, 1, 1], 1, rho(2)), Err(NoiseError::LossTooSmall));
}

#[test]
fn a_sensitivity_of_zero_still_gets_noise() {
    assert!(Scale::for_loss(0, rho(1_000_000)).unwrap().sigma() > 22.0);
}

#[test]
fn noise_beside_the_ends_of_64_bits_is_clamped_and_never_wraps() {
    let ends = vec![vec![i64::MAX, i64::MIN, i64::MAX, i64::MIN, i64::MIN, i64::MAX, 7]];
    let noise = vec![vec![1, -1, i128::MAX, i128::MIN, i128::from(u64::MAX), -i128::from(u64::MAX), -9]];
    let sum = Noise::planted(noise).measure(&ends).unwrap();
    assert_eq!(sum, [[i64::MAX, i64::MIN, i64::MAX, i64::MIN, i64::MAX, i64::MIN, -2]]);
}

#[test]
fn exact_values_of_another_shape_get_no_noise() {
    let noise = || Noise::planted(vec![vec![1, 2], vec![3, 4]]);
    assert!(noise().measure(&[vec![0, 0], vec![0, 0]]).is_ok());
    assert!(noise().measure(&[vec![0, 0]]).is_err());
    assert!(noise().measure(&[vec![0, 0], vec![0]]).is_err());
    assert!(noise().measure(&[vec![0, 0], vec![0, 0, 0]]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_measurement_loses_more_than_is_declared_and_none_wastes_more_than_a_trillionth(
        squared in prop_oneof![1_u128..1000, 1_u128..1 << 60, 1_u128..1 << 80],
        nano in prop_oneof![1_u64..100, 1_u64..10_000_000_000],
    ) {
        let declared = nano as f64 / 1e9;
        let scale = Scale::for_loss(squared, rho(nano)).unwrap();
        let loss = scale.loss().unwrap();
        prop_assert!(loss <= declared);
        prop_assert!(loss >= declared * (1.0 - 1e-12));
        // The same by hand: ρ = Δ² / (2σ²).
        let by_hand = squared as f64 / (2.0 * scale.sigma() * scale.sigma());
        prop_assert!((loss / by_hand - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_root_is_an_upper_bound_and_the_price_a_lower_one(root in 1_u64..1 << 62, more in 0_u128..3, nano in 1_u64..1 << 53) {
        let squared = u128::from(root) * u128::from(root) + more;
        prop_assert!(root_above(squared) > root as f64);
        prop_assert!(root_above(squared) <= (root as f64 + 1.0).max(root as f64 * (1.0 + 1e-15)));
        let below = loss_below(nano).unwrap();
        prop_assert!(below < nano as f64 / 1e9);
    }

    #[test]
    fn shares_add_up_to_the_loss_of_the_query(squares in prop::collection::vec(1_u128..1 << 40, 1..20), nano in 20_u64..10_000_000) {
        let plan = NoisePlan::split(&squares, 3, rho(nano)).unwrap();
        prop_assert_eq!(plan.scales().iter().map(|s| s.share()).sum::<u64>(), nano);
        let (first, others) = plan.scales().split_first().unwrap();
        prop_assert!(others.iter().all(|s| s.share() == nano / squares.len() as u64));
        prop_assert!(first.share() - nano / (squares.len() as u64) < squares.len() as u64);
    }
}

fn choice(candidates: Candidates, sigma: f64) -> Drawn {
    Drawn::Choice(Scale { way: Way::Exponential, ..scale_of(sigma) }, candidates)
}

/// The candidates of `QUANTILE(visits, rank)` of whole numbers from 0 to 9, as a question comes to them.
fn candidates(rank: &str) -> Candidates {
    const CONTRACT: &str = r#"
format = 1
id = "a.b"
title = ""
description = ""
controller = ""
agency = "a"
population = ""
unit_space = { id = "a.persons", register_size = 10, rho_per_year = 1, rho_for_life = 1 }
contribution = { rows_per_person = 1 }
cuts = ["2024"]
column = [
    { name = "k", label = "", definition = "", role = "privacy_unit", domain = { type = "text" } },
    { name = "x", label = "", definition = "", role = "measure", domain = { type = "integer", min = 0, max = 9 } },
]
"#;
    let question = firebreak_query::parse_sql(&format!("SELECT QUANTILE(x, {rank}) FROM a.b")).unwrap();
    let checked = firebreak_query::check(&question, &toml::from_str(CONTRACT).unwrap()).unwrap();
    let kinds = checked.primitives().iter().map(|primitive| primitive.kind().clone());
    let quantile = |kind| match kind {
        PrimitiveKind::Quantile { candidates, .. } => Some(candidates),
        _ => None,
    };
    kinds.filter_map(quantile).next().unwrap()
}

/// Whether so many choices fall on the candidates as `exp(−score/scale)` says. With nine degrees of freedom χ² is
/// above 63.5 with a probability below 10⁻⁹; each candidate is expected often enough for that.
fn is_exponential(drawn: &[i64], scores: &[i64], scale: f64) -> bool {
    let weights: Vec<f64> = scores.iter().map(|score| (-(*score as f64) / scale).exp()).collect();
    let whole: f64 = weights.iter().sum();
    let expected = |weight: &f64| weight / whole * drawn.len() as f64;
    assert!(weights.iter().all(|weight| expected(weight) > 50.0), "too rare to be counted: {weights:?}");
    let squares = (0..).zip(&weights).map(|(candidate, weight)| {
        let found = drawn.iter().filter(|value| **value == candidate).count() as f64;
        (found - expected(weight)).powi(2) / expected(weight)
    });
    squares.sum::<f64>() < 63.5
}

#[test]
fn a_choice_falls_on_each_candidate_as_often_as_the_exponential_mechanism_says() {
    let candidates = candidates("0.3");
    let counts = [3, 0, 4, 1, 0, 0, 2, 5, 0, 9];
    let scores = candidates.scores(&counts);
    let drawn = choice(candidates, 40.0).measure(&counts.repeat(DRAWS)).unwrap();
    assert!(is_exponential(&drawn, &scores, 40.0));
    // A scale that is a quarter smaller, and a person's values counted twice.
    assert!(!is_exponential(&choice(candidates, 30.0).measure(&counts.repeat(DRAWS)).unwrap(), &scores, 40.0));
    let mut more = counts;
    more[9] *= 2;
    assert!(!is_exponential(&choice(candidates, 40.0).measure(&more.repeat(DRAWS)).unwrap(), &scores, 40.0));
}

#[test]
fn a_choice_gives_a_value_for_each_cell_and_only_for_whole_ones() {
    let candidates = candidates("0.5");
    let far = |place: usize| (0..10).map(|at| if at == place { 1_000_000 } else { 0 }).collect::<Vec<i64>>();
    let drawn = choice(candidates, 1.0).measure(&[far(2), far(7)].concat()).unwrap();
    assert_eq!(drawn, [2, 7], "a million values on one candidate leave no doubt");
    assert_eq!(choice(candidates, 1.0).measure(&[0; 11]), Err(MeasureError::Shape));
}

#[test]
fn a_choice_has_the_scale_that_noise_has_at_its_sensitivity_and_is_never_underpaid() {
    for (squared, nano) in [(1, 1), (16, 5_000_000), (25_000_000, 123_456_789), (1 << 40, 2_000_000_000)] {
        let (noise, choice) =
            (Scale::for_loss(squared, rho(nano)).unwrap(), Scale::for_choice(squared, rho(nano)).unwrap());
        assert!((choice.sigma() / noise.sigma() - 1.0).abs() < 1e-12);
        assert!(choice.loss().unwrap() <= nano as f64 / 1e9);
        assert!(choice.check().is_ok());
        let cheaper = Scale { sigma: choice.sigma * 0.999_999, ..choice };
        assert_eq!(cheaper.check(), Err(NoiseError::Underpaid));
    }
}

fn epsilon(nano: u64) -> Epsilon {
    Epsilon::from_nano(nano)
}

/// Whether draws have the probabilities of the discrete Laplace of scale `b`: χ² over the values from −9 to 9 and both
/// tails, with twenty degrees of freedom above 90.0 with a probability below 10⁻⁹.
fn is_laplace(draws: &[i128], b: f64) -> bool {
    let q = (-1.0 / b).exp();
    let at = |z: i128| (1.0 - q) / (1.0 + q) * q.powi(z.unsigned_abs() as i32);
    let tail = q.powi(10) / (1.0 + q);
    let bins = (-9..=9).map(|z| (at(z), draws.iter().filter(|draw| **draw == z).count()));
    let tails = [draws.iter().filter(|draw| **draw < -9).count(), draws.iter().filter(|draw| **draw > 9).count()];
    let bins = bins.chain(tails.map(|found| (tail, found)));
    let square = |(probability, found): (f64, usize)| {
        let expected = probability * draws.len() as f64;
        (found as f64 - expected).powi(2) / expected
    };
    bins.map(square).sum::<f64>() < 90.0
}

#[test]
fn noise_has_the_probabilities_of_the_discrete_laplace() {
    let scale = Scale::for_epsilon(4, epsilon(1_000_000_000)).unwrap();
    assert!((scale.sigma() - 4.0).abs() < 1e-6);
    let drawn = scale.draw(DRAWS).unwrap();
    assert!(is_laplace(&drawn, 4.0));
    assert!(!is_laplace(&drawn, 4.4), "a scale off by a tenth is found");
}

#[test]
fn no_pure_measurement_loses_more_than_its_epsilon_and_none_wastes_more_than_a_billionth() {
    for (sensitivity, nano) in [(1, 1_000), (4, 100_000_000), (1 << 40, 1_000_000_000), (500_000, 123_456_789)] {
        for scale in [
            Scale::for_epsilon(sensitivity, epsilon(nano)).unwrap(),
            Scale::for_choice_of_epsilon(sensitivity, epsilon(nano)).unwrap(),
        ] {
            let (loss, limit) = (scale.loss().unwrap(), nano as f64 / 1e9);
            assert!(loss <= limit && loss > limit * (1.0 - 1e-9), "{loss} of {limit}");
            assert!(scale.check().is_ok());
            let narrow = Scale { sigma: scale.sigma * 0.999_999, ..scale };
            assert_eq!(narrow.check(), Err(NoiseError::Underpaid));
        }
    }
    assert_eq!(Scale::for_epsilon(1, epsilon(0)), Err(NoiseError::LossTooSmall));
    assert_eq!(Scale::for_epsilon(u128::MAX, epsilon(1)), Err(NoiseError::NoiseTooLarge));
}

#[test]
fn shares_follow_their_weights_and_add_up() {
    let weights = [cube_root(1), cube_root(2), cube_root(8)];
    assert_eq!(weights, [1_000_000, 1_259_921, 2_000_000]);
    let parts = shares(1_000_000_007, &weights).unwrap();
    assert_eq!(parts.iter().sum::<u64>(), 1_000_000_007);
    for (part, weight) in parts.iter().zip(weights) {
        let wanted = 1_000_000_007.0 * weight as f64 / 4_259_921.0;
        assert!((*part as f64 - wanted).abs() < 3.0, "{part} of {wanted}");
    }
    assert_eq!(shares(2, &[1, 1, 1]), Err(NoiseError::LossTooSmall));
}

/// Permute-and-flip is never worse than the exponential mechanism at the same scale, and chooses the best more often.
#[test]
fn a_pure_choice_falls_on_the_best_more_often_than_the_exponential_mechanism_does() {
    let candidates = candidates("0.5");
    let counts = [0, 0, 0, 0, 60, 60, 0, 0, 0, 0].repeat(DRAWS);
    let best = |way| {
        let drawn = Drawn::Choice(Scale { way, ..scale_of(100.0) }, candidates).measure(&counts).unwrap();
        drawn.iter().filter(|value| (4..=5).contains(*value)).count()
    };
    // Of the exponential mechanism 2 / (2 + 8·exp(−1.2)) = 0.453; five deviations of either are 0.018.
    let (flipped, exponential) = (best(Way::Flip), best(Way::Exponential));
    assert!((exponential as f64 / DRAWS as f64 - 0.453).abs() < 0.025);
    assert!(flipped as f64 > exponential as f64 + 0.025 * DRAWS as f64, "{flipped} and {exponential}");
}
