//! Why a request is answered with an error: its status and its code. The codes are part of the API and stay.

use hyper::StatusCode;

use crate::service::{CallerError, NodeError, ServiceError};

/// See the module page.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// The request says what cannot be read, or asks for what cannot be; with a sentence that names the part.
    #[error("{0}")]
    Bad(String),
    /// No such path.
    #[error("there is nothing at this path")]
    NoSuchPath,
    /// The path exists, this method on it does not.
    #[error("this path takes {0}")]
    Method(&'static str),
    /// The body is larger than is read.
    #[error("the body has more than {0} bytes")]
    TooLarge(usize),
    /// The service refused.
    #[error(transparent)]
    Refused(#[from] ServiceError),
    /// No token, or a wrong one.
    #[error("this address of the API wants `authorization: Bearer <token>`")]
    Unauthorized,
}

impl From<NodeError> for ApiError {
    fn from(error: NodeError) -> Self {
        Self::Refused(error.into())
    }
}

impl ApiError {
    /// The status and the code.
    pub(super) const fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Bad(_) => (StatusCode::BAD_REQUEST, "bad_request"),
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "not_found"),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::Refused(ServiceError::Caller(error)) => of_caller(error),
            Self::Refused(ServiceError::Node(error)) => {
                (StatusCode::SERVICE_UNAVAILABLE, code_of_node(error))
            }
        }
    }
}

const fn of_caller(error: &CallerError) -> (StatusCode, &'static str) {
    match error {
        CallerError::NoSuchSession
        | CallerError::NoSuchWorker(_)
        | CallerError::NoSuchMember
        | CallerError::Ended => (StatusCode::NOT_FOUND, "not_found"),
        CallerError::Unmet => (StatusCode::PRECONDITION_FAILED, "condition_failed"),
        CallerError::IdInUse => (StatusCode::CONFLICT, "in_use"),
        CallerError::MemberAlive => (StatusCode::CONFLICT, "alive"),
        CallerError::NothingToForget => (StatusCode::CONFLICT, "available"),
        CallerError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        CallerError::BadName(_) | CallerError::SameId | CallerError::RemoveInReplacement => {
            (StatusCode::BAD_REQUEST, "bad_request")
        }
    }
}

const fn code_of_node(error: &NodeError) -> &'static str {
    match error {
        NodeError::NotReady(_) => "not_ready",
        NodeError::Incomplete => "incomplete",
        NodeError::Unreachable => "unreachable",
        NodeError::Undecided => "undecided",
        NodeError::NoQuorum => "no_quorum",
        NodeError::Full(_) => "full",
        NodeError::TooManyListeners => "too_many_listeners",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_status_and_code() {
        let caller = |error: CallerError| ApiError::Refused(error.into());
        let table = [
            (ApiError::Bad("no".into()), 400, "bad_request"),
            (ApiError::Unauthorized, 401, "unauthorized"),
            (ApiError::NoSuchPath, 404, "not_found"),
            (ApiError::Method("GET"), 405, "method_not_allowed"),
            (ApiError::TooLarge(1), 413, "too_large"),
            (caller(CallerError::NoSuchSession), 404, "not_found"),
            (caller(CallerError::NoSuchWorker("w".into())), 404, "not_found"),
            (caller(CallerError::Unmet), 412, "condition_failed"),
            (caller(CallerError::IdInUse), 409, "in_use"),
            (caller(CallerError::NoSuchMember), 404, "not_found"),
            (caller(CallerError::MemberAlive), 409, "alive"),
            (caller(CallerError::NothingToForget), 409, "available"),
            (caller(CallerError::TooLarge("much".into())), 413, "too_large"),
            (caller(CallerError::BadName("odd".into())), 400, "bad_request"),
            (caller(CallerError::SameId), 400, "bad_request"),
            (caller(CallerError::RemoveInReplacement), 400, "bad_request"),
            (NodeError::NotReady("joining".into()).into(), 503, "not_ready"),
            (NodeError::Incomplete.into(), 503, "incomplete"),
            (NodeError::Unreachable.into(), 503, "unreachable"),
            (NodeError::Undecided.into(), 503, "undecided"),
            (NodeError::NoQuorum.into(), 503, "no_quorum"),
            (NodeError::Full(9).into(), 503, "full"),
            (NodeError::TooManyListeners.into(), 503, "too_many_listeners"),
        ];
        for (error, status, code) in table {
            assert_eq!(
                error.status(),
                (StatusCode::from_u16(status).unwrap(), code),
                "{error}"
            );
        }
    }
}
