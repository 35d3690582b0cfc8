//! Medians and quartiles.

use std::fmt;

use serde_json::{Value, json};

/// The middle half of some values.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub lower_quartile: f64,
    pub median: f64,
    pub upper_quartile: f64,
}

impl Spread {
    pub fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self {
            lower_quartile: quantile(&values, 0.25),
            median: quantile(&values, 0.5),
            upper_quartile: quantile(&values, 0.75),
        }
    }

    /// The ratio of both values in each round. Within a round, other load on the machine affects
    /// both about equally.
    pub fn from_ratios(values: &[f64], others: &[f64]) -> Self {
        Self::from_pairs(values, others, |value, other| value / other)
    }

    /// The difference of both values in each round.
    pub fn from_differences(values: &[f64], others: &[f64]) -> Self {
        Self::from_pairs(values, others, |value, other| value - other)
    }

    fn from_pairs(values: &[f64], others: &[f64], pair: fn(f64, f64) -> f64) -> Self {
        assert_eq!(values.len(), others.len());
        Self::new(values.iter().zip(others).map(|(value, other)| pair(*value, *other)))
    }

    pub fn to_json(self) -> Value {
        json!({
            "lower_quartile": self.lower_quartile,
            "median": self.median,
            "upper_quartile": self.upper_quartile,
        })
    }
}

/// The median, with the quartiles after it.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let text = format!(
            "{:.digits$} ({:.digits$} to {:.digits$})",
            self.median, self.lower_quartile, self.upper_quartile
        );
        match f.width() {
            Some(width) => write!(f, "{text:>width$}"),
            None => f.write_str(&text),
        }
    }
}

/// The value below which this share of the sorted values lies.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let below = sorted[position.floor() as usize];
    let above = sorted[position.ceil() as usize];
    below + (above - below) * position.fract()
}
