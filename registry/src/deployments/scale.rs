//! How many instances a deployment keeps, and how many it may grow to. The limits are Replicate's.

/// Kept warm though nobody asks.
const INSTANCES_MIN_MOST: u32 = 5;
const INSTANCES_MAX_MOST: u32 = 20;

/// From so many instances to so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    min: u32,
    max: u32,
}

/// Why two numbers are no scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadScale {
    #[error("min_instances must be less than or equal to {INSTANCES_MIN_MOST}")]
    MinTooLarge,
    #[error("max_instances must be less than or equal to {INSTANCES_MAX_MOST}")]
    MaxTooLarge,
    #[error("min_instances must be less than or equal to max_instances")]
    MinAboveMax,
}

impl Scale {
    pub const fn new(min: u32, max: u32) -> Result<Self, BadScale> {
        if min > INSTANCES_MIN_MOST {
            return Err(BadScale::MinTooLarge);
        }
        if max > INSTANCES_MAX_MOST {
            return Err(BadScale::MaxTooLarge);
        }
        if min > max { Err(BadScale::MinAboveMax) } else { Ok(Self { min, max }) }
    }

    pub const fn min(self) -> u32 {
        self.min
    }

    pub const fn max(self) -> u32 {
        self.max
    }

    /// Whether it runs nothing: what waits and what runs is canceled, and nothing new is taken.
    pub const fn is_off(self) -> bool {
        self.max == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_keeps_within_the_limits_and_in_order() {
        assert_eq!(Scale::new(6, 6), Err(BadScale::MinTooLarge));
        assert_eq!(Scale::new(5, 21), Err(BadScale::MaxTooLarge));
        assert_eq!(Scale::new(3, 2), Err(BadScale::MinAboveMax));
        assert!(Scale::new(5, 20).is_ok_and(|scale| !scale.is_off()));
        assert!(Scale::new(0, 0).is_ok_and(Scale::is_off));
    }
}
