//! How many instances a deployment keeps, how many it may grow to, and how long an idle one stays. The limits of the first two are Replicate's.

/// Kept warm though nobody asks.
const INSTANCES_MIN_MOST: u32 = 5;
const INSTANCES_MAX_MOST: u32 = 20;
const BUFFER_MOST: u32 = 5;
/// A day: what is wanted for longer is a minimum.
const IDLE_SECONDS_MOST: u32 = 86_400;

/// From so many instances to so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    min: u32,
    max: u32,
    buffer: u32,
    linger: Linger,
}

/// How long an instance stays that nobody uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Linger {
    #[default]
    AsTheRunnerHasIt,
    Seconds(u32),
}

impl Linger {
    pub const fn of(seconds: Option<u32>) -> Self {
        match seconds {
            Some(seconds) => Self::Seconds(seconds),
            None => Self::AsTheRunnerHasIt,
        }
    }

    pub const fn seconds(self) -> Option<u32> {
        match self {
            Self::Seconds(seconds) => Some(seconds),
            Self::AsTheRunnerHasIt => None,
        }
    }
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
    #[error("buffer_instances must be less than or equal to {BUFFER_MOST}")]
    BufferTooLarge,
    #[error("idle_seconds must be less than or equal to {IDLE_SECONDS_MOST}")]
    IdleTooLong,
}

impl Scale {
    pub const fn new(min: u32, max: u32) -> Result<Self, BadScale> {
        if min > INSTANCES_MIN_MOST {
            return Err(BadScale::MinTooLarge);
        }
        if max > INSTANCES_MAX_MOST {
            return Err(BadScale::MaxTooLarge);
        }
        if min > max { Err(BadScale::MinAboveMax) } else { Ok(Self { min, max, buffer: 0, linger: Linger::AsTheRunnerHasIt }) }
    }

    /// With so many spare instances beyond the busy ones, while any is busy.
    pub const fn with_buffer(self, buffer: u32) -> Result<Self, BadScale> {
        if buffer > BUFFER_MOST { Err(BadScale::BufferTooLarge) } else { Ok(Self { buffer, ..self }) }
    }

    pub fn with_linger(self, linger: Linger) -> Result<Self, BadScale> {
        let is_too_long = linger.seconds().is_some_and(|seconds| seconds > IDLE_SECONDS_MOST);
        if is_too_long { Err(BadScale::IdleTooLong) } else { Ok(Self { linger, ..self }) }
    }

    pub const fn min(self) -> u32 {
        self.min
    }

    pub const fn max(self) -> u32 {
        self.max
    }

    pub const fn buffer(self) -> u32 {
        self.buffer
    }

    pub const fn linger(self) -> Linger {
        self.linger
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
        let scale = Scale::new(0, 2).unwrap();
        assert_eq!(scale.with_buffer(6), Err(BadScale::BufferTooLarge));
        assert_eq!(scale.with_linger(Linger::Seconds(86_401)), Err(BadScale::IdleTooLong));
        assert_eq!(scale.with_linger(Linger::Seconds(7)).map(|scale| scale.linger().seconds()), Ok(Some(7)));
    }
}
