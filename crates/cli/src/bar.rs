//! Intervals drawn as bars on one scale, so that it is seen which differences are noise.

use crate::number::with_error;
use firebreak_wire::query::v1::Estimate;
use unicode_width::UnicodeWidthStr;

/// From the lowest end to the highest of the intervals of one output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// The scale that takes in every estimate; `None` where there are not two that could be compared.
    #[must_use]
    pub fn of<'a>(estimates: impl IntoIterator<Item = &'a Estimate>) -> Option<Self> {
        let drawn: Vec<[f64; 3]> = estimates.into_iter().filter_map(points).collect();
        let low = drawn.iter().map(|[low, ..]| *low).fold(f64::INFINITY, f64::min);
        let high = drawn.iter().map(|[.., high]| *high).fold(f64::NEG_INFINITY, f64::max);
        (drawn.len() > 1 && (high - low).is_finite() && high > low).then_some(Self { low, high })
    }

    /// The interval as a bar in exactly `width` columns, the value marked in it; nothing where nothing is computable.
    ///
    /// ```
    /// # use firebreak::bar::Scale;
    /// # use firebreak_wire::query::v1::Estimate;
    /// # let estimate = |low, high| Estimate {
    /// #     value: Some((low + high) / 2.0), lower: Some(low), upper: Some(high), ..Estimate::default()
    /// # };
    /// let (one, other) = (estimate(0.0, 12.0), estimate(8.0, 20.0));
    /// let scale = Scale::of([&one, &other]).unwrap();
    /// assert_eq!(scale.bar(&one, 11), "├──●──┤    ");
    /// assert_eq!(scale.bar(&other, 11), "    ├──●──┤");
    /// ```
    #[must_use]
    pub fn bar(&self, estimate: &Estimate, width: usize) -> String {
        let Some(points) = points(estimate) else { return String::new() };
        let [low, value, high] = points.map(|point| self.place(point, width));
        let drawn = |place| match place {
            place if place == value => '●',
            place if place == low => '├',
            place if place == high => '┤',
            place if low < place && place < high => '─',
            _ => ' ',
        };
        (0..width).map(drawn).collect()
    }

    /// Both ends of the scale in exactly `width` columns; nothing where they do not fit.
    #[must_use]
    pub fn heading(&self, width: usize) -> String {
        let [low, high] = [self.low, self.high].map(|end| with_error(end, self.high - self.low).value);
        match width.checked_sub(low.width() + high.width()) {
            Some(between) if between > 0 => format!("{low}{}{high}", " ".repeat(between)),
            _ => String::new(),
        }
    }

    /// The column, from 0, in which a number lies.
    fn place(&self, number: f64, width: usize) -> usize {
        let last = width.saturating_sub(1);
        let part = (number - self.low) / (self.high - self.low);
        ((part * last as f64).round() as usize).min(last)
    }
}

/// Lower end, value, upper end; `None` where one of them is not computable.
fn points(estimate: &Estimate) -> Option<[f64; 3]> {
    let points = [estimate.lower?, estimate.value?, estimate.upper?];
    points.iter().all(|point| point.is_finite()).then_some(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(lower: f64, value: f64, upper: f64) -> Estimate {
        Estimate { value: Some(value), lower: Some(lower), upper: Some(upper), ..Estimate::default() }
    }

    #[test]
    fn bars_lie_on_one_scale_and_are_as_wide_as_said() {
        let all = [estimate(-20.0, -10.0, 0.0), estimate(-5.0, 0.0, 5.0), estimate(79.0, 80.0, 80.0)];
        let scale = Scale::of(&all).unwrap();
        let bars: Vec<_> = all.iter().map(|e| scale.bar(e, 21)).collect();
        assert_eq!(bars, ["├─●─┤                ", "   ├●┤               ", "                    ●"]);
        for width in 0..60 {
            for (bar, estimate) in all.iter().map(|e| (scale.bar(e, width), e)) {
                assert_eq!(bar.width(), width, "{bar:?}");
                assert_eq!(bar.matches('●').count(), usize::from(width > 0), "{estimate:?}");
            }
            assert!([0, width].contains(&scale.heading(width).width()));
        }
        assert_eq!(scale.heading(21), format!("-20{}80", " ".repeat(16)));
        assert_eq!(scale.heading(5), "");
    }

    #[test]
    fn what_cannot_be_computed_or_compared_has_no_bar() {
        let known = estimate(1.0, 2.0, 3.0);
        let none = Estimate::default();
        let endless = estimate(f64::NEG_INFINITY, 0.0, f64::NAN);
        assert_eq!(Scale::of([&known, &none]), None);
        assert_eq!(Scale::of([&estimate(1.0, 1.0, 1.0), &estimate(1.0, 1.0, 1.0)]), None);
        assert_eq!(Scale::of([&estimate(-f64::MAX, 0.0, 0.0), &estimate(0.0, 0.0, f64::MAX)]), None);
        let scale = Scale::of([&known, &none, &endless, &estimate(2.0, 3.0, 4.0)]).unwrap();
        assert_eq!((scale.bar(&none, 10), scale.bar(&endless, 10)), (String::new(), String::new()));
    }
}
