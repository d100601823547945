use super::*;

fn sets(sizes: &[usize], of: &[&[usize]]) -> Vec<GroupingSet> {
    of.iter().map(|groups| GroupingSet::of(groups.to_vec(), |group| sizes[group]).unwrap()).collect()
}

/// Numbers between −1 and 1 that look random.
fn numbers(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}

/// Solves `matrix · x = right` by elimination, for a positive definite matrix.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    for pivot in 0..size {
        let (line, value) = (matrix[pivot].clone(), right[pivot]);
        for (row, numbers) in matrix.iter_mut().enumerate().filter(|(row, _)| *row != pivot) {
            let factor = numbers[pivot] / line[pivot];
            numbers.iter_mut().zip(&line).for_each(|(number, of_line)| *number -= factor * of_line);
            right[row] -= factor * value;
        }
    }
    (0..size).map(|row| right[row] / matrix[row][row]).collect()
}

/// The estimate by the normal equations over the cells of all groups, with a breath of ridge where they leave some of
/// these undetermined; what is asked is determined.
fn by_normal_equations(
    all: &GroupingSet,
    sets: &[GroupingSet],
    measured: &[(&[f64], f64)],
) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let cells = all.cells();
    let mut matrix = vec![vec![0.0; cells]; cells];
    let mut right = vec![0.0; cells];
    let map = |set: &GroupingSet| set.cells_of(all).collect::<Vec<_>>();
    for (set, (table, deviation)) in sets.iter().zip(measured) {
        let of = map(set);
        for one in 0..cells {
            right[one] += table[of[one]] / deviation.powi(2);
            for other in 0..cells {
                matrix[one][other] += f64::from(u8::from(of[one] == of[other])) / deviation.powi(2);
            }
        }
    }
    for (cell, row) in matrix.iter_mut().enumerate() {
        row[cell] += 1e-10;
    }
    let x = solve(matrix.clone(), right);
    let mut tables = Vec::new();
    let mut variances = Vec::new();
    for set in sets {
        let of = map(set);
        let mut table = vec![0.0; set.cells()];
        let mut variance = vec![0.0; set.cells()];
        for cell in 0..set.cells() {
            let indicator: Vec<f64> = of.iter().map(|to| f64::from(u8::from(*to == cell))).collect();
            let solved = solve(matrix.clone(), indicator.clone());
            table[cell] = indicator.iter().zip(&x).map(|(i, x)| i * x).sum();
            variance[cell] = indicator.iter().zip(&solved).map(|(i, s)| i * s).sum();
        }
        tables.push(table);
        variances.push(variance);
    }
    (tables, variances)
}

#[test]
fn margins_are_the_weighted_least_squares_estimate_and_so_are_their_errors() {
    let sizes = [3, 2, 4];
    let of: &[&[&[usize]]] = &[
        &[&[], &[0]],
        &[&[0], &[0, 1]],
        &[&[], &[0], &[0, 1]],
        &[&[], &[0], &[0, 1], &[0, 1, 2]],
        &[&[], &[0], &[1], &[0, 1]],
        &[&[], &[0], &[1], &[2], &[0, 1], &[0, 2], &[1, 2], &[0, 1, 2]],
        &[&[0], &[1]],
        &[&[0, 1], &[1, 2]],
        &[&[0, 1], &[1, 2], &[0, 2], &[]],
    ];
    let mut number = numbers(5);
    for groups in of {
        let sets = sets(&sizes, groups);
        let all: BTreeSet<usize> = groups.iter().copied().flatten().copied().collect();
        let all = GroupingSet::of(all.into_iter().collect(), |group| sizes[group]).unwrap();
        let tables: Vec<Vec<f64>> =
            sets.iter().map(|set| (0..set.cells()).map(|_| 100.0 * number()).collect()).collect();
        let deviations: Vec<f64> = sets.iter().map(|_| 1.5 + number()).collect();
        let measured: Vec<(&[f64], f64)> = tables.iter().map(Vec::as_slice).zip(deviations.iter().copied()).collect();
        let (found, errors) = (least_squares(&sets, &measured), errors(&sets, &deviations));
        let (wanted, variances) = by_normal_equations(&all, &sets, &measured);
        for (set, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
            for (found, wanted) in found.iter().zip(wanted) {
                assert!((found - wanted).abs() < 1e-5, "{groups:?}, set {set}: {found} is not {wanted}");
            }
            for variance in &variances[set] {
                assert!((errors[set] - variance.sqrt()).abs() < 1e-5, "{groups:?}, set {set}: {variance}");
            }
            assert!(
                errors[set] <= deviations[set] * (1.0 + 1e-12),
                "an estimate is never worse than what was measured"
            );
        }
        // They add up.
        for (coarse, table) in sets.iter().zip(&found) {
            for (fine, parts) in sets.iter().zip(&found).filter(|(fine, _)| coarse.is_within(fine)) {
                let mut sums = vec![0.0; coarse.cells()];
                for (value, cell) in parts.iter().zip(coarse.cells_of(fine)) {
                    sums[cell] += value;
                }
                assert!(sums.iter().zip(table).all(|(sum, value)| (sum - value).abs() < 1e-9), "{groups:?}");
            }
        }
    }
}

#[test]
fn a_group_of_one_value_and_one_set_change_nothing() {
    let one = sets(&[4], &[&[0]]);
    let table = [3.0, -1.0, 7.5, 0.0];
    let (found, of_one) = (least_squares(&one, &[(&table, 2.0)]), errors(&one, &[2.0]));
    assert!(found[0].iter().zip(table).all(|(found, wanted)| (found - wanted).abs() < 1e-12), "{found:?}");
    assert!((of_one[0] - 2.0).abs() < 1e-12);
    // Two measurements of one number: weights 1 and 1/4.
    let twice = sets(&[1], &[&[], &[0]]);
    let found = least_squares(&twice, &[(&[10.0], 1.0), (&[20.0], 2.0)]);
    let of_both = errors(&twice, &[1.0, 2.0]);
    assert!((found[0][0] - 12.0).abs() < 1e-12 && (found[1][0] - 12.0).abs() < 1e-12, "{found:?}");
    assert!((of_both[0] - 0.8_f64.sqrt()).abs() < 1e-12, "{of_both:?}");
}

#[test]
fn cells_are_numbered_with_the_last_group_running_fastest() {
    let of = sets(&[3, 2, 4], &[&[0, 2], &[2], &[0, 1, 2]]);
    assert_eq!(of[0].cells(), 12);
    assert_eq!(of[0].cell(|group| Some([2, 9, 1][group])), Some(9));
    assert_eq!(of[0].cell(|group| [Some(2), None, Some(4)][group]), None, "a code that the group does not have");
    assert_eq!(of[0].cell(|group| [None, Some(0), Some(1)][group]), None);
    assert_eq!((of[0].code(9, 0), of[0].code(9, 2), of[0].code(9, 1)), (Some(2), Some(1), None));
    assert_eq!(of[1].cells_of(&of[0]).collect::<Vec<_>>(), [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]);
    assert!(of[0].is_within(&of[2]) && !of[2].is_within(&of[0]) && of[1].is_within(&of[1]));
}

#[test]
fn a_set_that_was_not_measured_is_the_best_sum_of_those_that_were() {
    let mut next = numbers(7);
    // Measured once: the plain sum, with the root of the number of cells for its error.
    let all = sets(&[3, 4], &[&[0, 1], &[0], &[]]);
    let table: Vec<f64> = (0..12).map(|_| next()).collect();
    let measured = [(table.as_slice(), 2.0), (&[][..], f64::INFINITY), (&[][..], f64::INFINITY)];
    let found = estimates(&all, &measured);
    for (cell, sum) in found[1].iter().enumerate() {
        assert!((sum - table[cell * 4..cell * 4 + 4].iter().sum::<f64>()).abs() < 1e-12);
    }
    let errors = estimated_errors(&all, &[2.0, f64::INFINITY, f64::INFINITY]);
    assert_eq!(errors, [2.0, 4.0, 2.0 * 12.0_f64.sqrt()]);
    // Measured in several sets: what the normal equations say, too.
    let known = sets(&[3, 2, 2], &[&[0, 1], &[1, 2], &[0]]);
    let tables: Vec<Vec<f64>> = known.iter().map(|set| (0..set.cells()).map(|_| next()).collect()).collect();
    let deviations = [1.0, 0.5, 2.0];
    let all: Vec<GroupingSet> = known.iter().cloned().chain(sets(&[3, 2, 2], &[&[1], &[2], &[]])).collect();
    let mut measured: Vec<(&[f64], f64)> = tables.iter().map(Vec::as_slice).zip(deviations).collect();
    measured.resize(all.len(), (&[], f64::INFINITY));
    let wide: Vec<f64> = measured.iter().map(|(_, deviation)| *deviation).collect();
    let (found, errors) = (estimates(&all, &measured), estimated_errors(&all, &wide));
    // With noise so large that it weighs nothing, but a table all the same.
    let nothing: Vec<Vec<f64>> = all.iter().map(|set| vec![0.0; set.cells()]).collect();
    let filled: Vec<(&[f64], f64)> = measured
        .iter()
        .zip(&nothing)
        .map(
            |((table, deviation), zeros)| if table.is_empty() { (zeros.as_slice(), 1e7) } else { (*table, *deviation) },
        )
        .collect();
    let whole = sets(&[3, 2, 2], &[&[0, 1, 2]]).remove(0);
    let (expected, variances) = by_normal_equations(&whole, &all, &filled);
    for set in 0..all.len() {
        for cell in 0..all[set].cells() {
            assert!((found[set][cell] - expected[set][cell]).abs() < 1e-5, "{set} {cell}");
            assert!((errors[set].powi(2) - variances[set][cell]).abs() < 1e-4, "{set} {cell}");
        }
    }
}

/// The variance of a sum of cells is the quadratic form of the normal equations; a covariance follows from three of
/// them.
#[test]
fn cells_and_totals_vary_together_as_the_normal_equations_say() {
    let sizes = [3, 2, 4];
    let all = GroupingSet::of(vec![0, 1, 2], |group| sizes[group]).unwrap();
    let cases: &[(&[&[usize]], &[f64])] = &[
        (&[&[0, 1, 2]], &[3.0]),
        (&[&[], &[0], &[0, 1, 2]], &[1.0, 4.0, 2.0]),
        (&[&[0, 1, 2], &[1], &[0, 2]], &[2.0, 0.5, 5.0]),
    ];
    for (of, deviations) in cases {
        let sets = sets(&sizes, of);
        let cells = all.cells();
        let mut matrix = vec![vec![0.0; cells]; cells];
        for (set, deviation) in sets.iter().zip(*deviations) {
            let map: Vec<usize> = set.cells_of(&all).collect();
            for one in 0..cells {
                for other in 0..cells {
                    matrix[one][other] += f64::from(u8::from(map[one] == map[other])) / deviation.powi(2);
                }
            }
        }
        let sum = |within: &[usize]| {
            let coarse = GroupingSet::of(within.to_vec(), |group| sizes[group]).unwrap();
            let map: Vec<usize> = coarse.cells_of(&all).collect();
            map.iter().map(|cell| f64::from(u8::from(*cell == map[5]))).collect::<Vec<_>>()
        };
        let fine = sets.iter().find(|set| set.groups.len() == 3).unwrap();
        for one in [&[][..], &[0], &[1, 2], &[0, 1, 2]] {
            for other in [&[][..], &[0], &[2], &[0, 1, 2]] {
                let solved = solve(matrix.clone(), sum(other));
                let wanted: f64 = sum(one).iter().zip(&solved).map(|(one, other)| one * other).sum();
                let found = covariance(&sets, deviations, fine, one, other);
                assert!(
                    (found - wanted).abs() < 1e-6 * wanted.abs().max(1.0),
                    "{one:?} {other:?}: {found}, not {wanted}"
                );
            }
        }
    }
}
