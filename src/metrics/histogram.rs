//! How long things took, in steps.

/// Upper bounds of the steps, in seconds: from a look that finds nothing to a run of apt.
pub(super) const BOUNDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0];

/// How many took how long.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Histogram {
    /// By the first bound that is not less; what is beyond them all counts in `count` alone.
    steps: [u64; BOUNDS.len()],
    pub count: u64,
    pub sum: f64,
}

impl Histogram {
    pub fn observe(&mut self, seconds: f64) {
        if let Some(step) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.steps[step] += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }

    /// Each bound with how many took at most so long.
    pub fn up_to(&self) -> impl Iterator<Item = (f64, u64)> {
        let sums = self.steps.iter().scan(0, |sum, step| {
            *sum += step;
            Some(*sum)
        });
        BOUNDS.into_iter().zip(sums)
    }
}
