//! Why a request was not served, in the words that clients of all wire formats understand.

use std::time::Duration;

use axum::http::StatusCode;

/// What went wrong with one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The body is not JSON, or not UTF-8.
    #[error("the body is not JSON: {0}")]
    Malformed(String),
    /// The content type is not JSON.
    #[error("content type `{0}`: expected application/json")]
    MediaType(String),
    /// The body is larger than the server takes.
    #[error("the body has more than {limit} bytes; send fewer or shorter documents")]
    TooLarge {
        /// The most bytes of a body.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive within {0:?}")]
    SlowBody(Duration),
    /// There is nothing to rank.
    #[error("{0}")]
    Empty(String),
    /// A value is wrong, or more than the server takes.
    #[error("{0}")]
    Invalid(String),
    /// There is no such model.
    #[error("model `{name}`: there is none of that name; there are {known}")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// The models that are served.
        known: String,
    },
    /// No key, or a wrong one.
    #[error("a key is needed: Authorization: Bearer KEY")]
    Unauthorized,
    /// There is no such route.
    #[error("{method} {path}: there is no such route; see /docs")]
    NoRoute {
        /// The method of the request.
        method: String,
        /// The path of the request.
        path: String,
    },
    /// The route has other methods.
    #[error("{method} {path}: this route does not have that method; see /docs")]
    Method {
        /// The method of the request.
        method: String,
        /// The path of the request.
        path: String,
    },
    /// The queue is full.
    #[error("the server is overloaded; try again in {} ms", retry_after.as_millis())]
    Overloaded {
        /// When the work that waits now should be done.
        retry_after: Duration,
    },
    /// The server is starting, stopping or broken.
    #[error("{0}")]
    Unavailable(String),
    /// The request's time ran out.
    #[error("the request was not done within its {} ms", _0.as_millis())]
    Timeout(Duration),
    /// The model failed.
    #[error("{0}")]
    Backend(String),
    /// A defect of the server.
    #[error("{0}")]
    Internal(String),
}

impl Failure {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::Empty(_) => StatusCode::BAD_REQUEST,
            Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::SlowBody(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::UnknownModel { .. } | Self::NoRoute { .. } => StatusCode::NOT_FOUND,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Overloaded { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Backend(_) => StatusCode::FAILED_DEPENDENCY,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The kind, as TEI names it where TEI has it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::MediaType(_) | Self::TooLarge { .. } | Self::Invalid(_) => {
                "Validation"
            }
            Self::Empty(_) => "Empty",
            Self::SlowBody(_) | Self::Timeout(_) => "Timeout",
            Self::UnknownModel { .. } | Self::NoRoute { .. } | Self::Method { .. } => "NotFound",
            Self::Unauthorized => "Unauthorized",
            Self::Overloaded { .. } => "Overloaded",
            Self::Unavailable(_) => "Unhealthy",
            Self::Backend(_) | Self::Internal(_) => "Backend",
        }
    }

    /// The reason in one word, to count by.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::MediaType(_) => "media_type",
            Self::TooLarge { .. } => "too_large",
            Self::SlowBody(_) => "slow_body",
            Self::Empty(_) => "empty",
            Self::Invalid(_) => "invalid",
            Self::UnknownModel { .. } => "unknown_model",
            Self::Unauthorized => "unauthorized",
            Self::NoRoute { .. } | Self::Method { .. } => "no_route",
            Self::Overloaded { .. } => "overloaded",
            Self::Unavailable(_) => "unavailable",
            Self::Timeout(_) => "timeout",
            Self::Backend(_) => "backend",
            Self::Internal(_) => "internal",
        }
    }

    /// When to try again, where that helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after } => Some(*retry_after),
            Self::Unavailable(_) => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}

impl From<tamis_model::Error> for Failure {
    /// Errors that the request can do something about, and those of the model.
    fn from(error: tamis_model::Error) -> Self {
        use tamis_model::Error;
        match error {
            Error::Effort { .. }
            | Error::Overlap { .. }
            | Error::NoTerms { .. }
            | Error::EmptyRow => Self::Invalid(error.to_string()),
            Error::Data(_) => Self::Invalid(error.to_string()),
            _ => Self::Backend(error.to_string()),
        }
    }
}
