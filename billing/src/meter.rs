//! What a prediction used, and whose word that is.

use protocol::wire::TokenUsage;

/// Whose measurement is billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeasuredBy {
    Gateway,
    Runner,
    /// The model's own count, bounded by the bytes that the gateway relayed.
    Model,
}

/// The billed quantities of the accepted attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meter {
    /// Microseconds in which the model ran: no queue, no cold start, no hook.
    pub run_us: u64,
    pub run_measured_by: MeasuredBy,
    pub tokens: TokenUsage,
    pub tokens_measured_by: MeasuredBy,
}

/// Tokens as they reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenCount {
    /// Counted by the gateway in what it relayed.
    Relayed(TokenUsage),
    /// Declared by the model, beside the bytes that the gateway saw pass. A token is at least one byte, so more cannot be true.
    Declared { declared: TokenUsage, prompt_bytes: u64, completion_bytes: u64 },
}

impl Meter {
    /// Reads both clocks and the token count. The runner's monotonic clock is billed, and never more than the gateway saw between start
    /// and finish; without a word of the runner (its line broke) it is the gateway's time.
    pub fn read(runner_us: Option<u64>, gateway_us: u64, tokens: TokenCount) -> Meter {
        let (run_us, run_measured_by) = match runner_us {
            Some(runner_us) if runner_us <= gateway_us => (runner_us, MeasuredBy::Runner),
            Some(_) | None => (gateway_us, MeasuredBy::Gateway),
        };
        let (tokens, tokens_measured_by) = match tokens {
            TokenCount::Relayed(tokens) => (tokens, MeasuredBy::Gateway),
            TokenCount::Declared { declared, prompt_bytes, completion_bytes } => {
                let prompt = declared.prompt.min(prompt_bytes);
                let completion = declared.completion.min(completion_bytes);
                (TokenUsage { prompt, completion }, MeasuredBy::Model)
            }
        };
        Meter { run_us, run_measured_by, tokens, tokens_measured_by }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_TOKENS: TokenCount = TokenCount::Relayed(TokenUsage { prompt: 0, completion: 0 });

    #[test]
    fn l8_billed_time_is_the_runners_and_never_above_the_gateways() {
        let billed = |runner_us, gateway_us| {
            let meter = Meter::read(runner_us, gateway_us, NO_TOKENS);
            (meter.run_us, meter.run_measured_by)
        };
        assert_eq!(billed(Some(900), 1_000), (900, MeasuredBy::Runner));
        assert_eq!(billed(Some(1_000_000), 1_000), (1_000, MeasuredBy::Gateway));
        assert_eq!(billed(None, 1_000), (1_000, MeasuredBy::Gateway));
    }

    #[test]
    fn l9_a_model_cannot_declare_more_tokens_than_bytes_passed() {
        let declared = TokenUsage { prompt: 5, completion: u64::MAX };
        let meter = Meter::read(None, 0, TokenCount::Declared { declared, prompt_bytes: 40, completion_bytes: 12 });
        assert_eq!(meter.tokens, TokenUsage { prompt: 5, completion: 12 });
        assert_eq!(meter.tokens_measured_by, MeasuredBy::Model);
    }
}
