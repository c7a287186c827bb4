//! Which of `OpenAI`'s routes a version serves: what its publisher declared.

use protocol::VersionConfig;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Completions,
    Embeddings,
}

impl Endpoint {
    pub fn of(config: &VersionConfig) -> Option<Self> {
        let declared = &config.openai.as_ref()?.endpoint;
        [Self::Chat, Self::Completions, Self::Embeddings].into_iter().find(|endpoint| endpoint.path() == declared)
    }

    /// As a publisher writes it.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    /// A model that converses also completes: its prompt is what the user says.
    pub const fn serves(self, asked: Self) -> bool {
        match asked {
            Self::Chat => matches!(self, Self::Chat),
            Self::Completions => matches!(self, Self::Chat | Self::Completions),
            Self::Embeddings => matches!(self, Self::Embeddings),
        }
    }
}
