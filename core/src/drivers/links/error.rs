//! Why there is no link, or no longer one, by who can do something about it: the operator of the peer, whoever
//! configures the two nodes, or whoever keeps the network. Each error's text is a sentence for that person.

use std::net::SocketAddr;
use std::time::Duration;

use super::keeper::Outcome;
use crate::base::id::NodeId;
use crate::drivers::link_age::Over;
use crate::membership::RosterFull;
use crate::net::frame::FrameError;
use crate::net::hello::HelloError;
use crate::net::identity::IdentityError;
use crate::replication::message;
use crate::replication::streams::STREAMS_MAX;

/// Why a link is not, or no longer, one.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The peer breaks the protocol: it is no node of Limpet, of another version, or faulty.
    #[error(transparent)]
    PeerMisbehaved(#[from] PeerMisbehaved),
    /// The configuration or the certificates of the two nodes do not fit together.
    #[error(transparent)]
    Misconfigured(#[from] Misconfigured),
    /// The network, or the other machine.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Nothing is wrong: the peer is linked by another connection.
    #[error("{0} is linked already")]
    AlreadyLinked(NodeId),
    /// Nothing is wrong any more: this node took a later incarnation than the one the peer knows.
    #[error(
        "the peer knows a later incarnation of this node, whose clock was ahead then; this node dials again as the latest"
    )]
    Outpaced,
    /// Nothing is wrong: the link is to be made again, so that both ends show their certificates again.
    #[error("to be made again: {0}")]
    Over(#[from] Over),
}

/// What a peer does that no node of this version should.
#[derive(Debug, thiserror::Error)]
pub enum PeerMisbehaved {
    /// Its first frame is no hello.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// It sent something that is no frame.
    #[error(transparent)]
    Frame(FrameError),
    /// It sent a frame that is no message.
    #[error(transparent)]
    Message(#[from] message::PeerMisbehaved),
    /// Its hello and its certificate contradict each other.
    #[error("the peer calls itself {claimed}, and its certificate {certified}")]
    FalseId {
        /// The id in the hello.
        claimed: String,
        /// The id in the certificate.
        certified: String,
    },
    /// Its id is none.
    #[error("the peer's id is none: {0}")]
    InvalidId(String),
    /// It numbers a stream beyond those there can be.
    #[error("the peer makes stream {0}, where streams are numbered below {STREAMS_MAX}")]
    StreamOutOfRange(u8),
    /// The process at the address is another node than the one the link belongs to.
    #[error("{found} answers where {expected} did")]
    OtherNode {
        /// Whose link it is.
        expected: NodeId,
        /// Who answered.
        found: NodeId,
    },
    /// It sent something on a link on which it only receives.
    #[error("the peer sent something on a link on which it only receives")]
    SpokeOutOfTurn,
}

/// What two nodes' configuration or certificates contradict each other in.
#[derive(Debug, thiserror::Error)]
pub enum Misconfigured {
    /// One end refused the other's TLS: a certificate of another CA, an expired one, or none.
    #[error("TLS was refused: {0}")]
    Tls(std::io::Error),
    /// The certificate is in order but not of this cluster.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// This node's own hello cannot be written: its id or domain is too long.
    #[error("this node's hello cannot be sent: {0}")]
    OwnHello(HelloError),
    /// It is of this cluster, but of another domain, with which this node has nothing to do.
    #[error("{0} is of another domain")]
    OtherDomain(NodeId),
    /// This node tracks as many members as it can.
    #[error(transparent)]
    Full(RosterFull),
    /// The peer tracks as many members as it can.
    #[error("{0} refuses this node, for it tracks as many members as it can: use domains, or fewer nodes")]
    PeerFull(NodeId),
    /// Two processes have one id, and the other one stays.
    #[error("the id {id} belongs to the node at {holder}: give one of the two nodes another id")]
    IdTaken {
        /// The id that two processes have.
        id: NodeId,
        /// Where the one is that stays.
        holder: SocketAddr,
    },
}

/// What the network or the other machine does.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// Took too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(std::io::Error),
    /// The other side closed the connection.
    #[error("the peer closed the connection")]
    ClosedByPeer,
    /// The connection ended inside a frame: the other process died, or something between the two cut it.
    #[error("the connection ended inside a frame")]
    CutShort,
    /// This node closed the connection, because membership or the engine wished so.
    #[error("this node closed the connection")]
    ClosedHere,
}

impl From<FrameError> for LinkError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Io(error) => Self::tls(error),
            FrameError::Truncated => NetworkError::CutShort.into(),
            error => PeerMisbehaved::Frame(error).into(),
        }
    }
}

impl From<message::PeerMisbehaved> for LinkError {
    fn from(error: message::PeerMisbehaved) -> Self {
        PeerMisbehaved::from(error).into()
    }
}

impl From<IdentityError> for LinkError {
    fn from(error: IdentityError) -> Self {
        Misconfigured::from(error).into()
    }
}

impl LinkError {
    /// A read, write or handshake over TLS failed. What rustls objects to is reported as invalid data, a certificate the
    /// other end refused among it; the rest is the connection's.
    pub(super) fn tls(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::InvalidData {
            Misconfigured::Tls(error).into()
        } else {
            NetworkError::Broken(error).into()
        }
    }

    /// By what the log tells whether it said this lately. `path` is where the link leads or comes from; a node of another
    /// domain is one and the same on every path.
    #[must_use]
    pub(super) fn notice(&self, path: &str) -> String {
        match self {
            Self::Misconfigured(Misconfigured::OtherDomain(_)) => self.to_string(),
            _ => format!("{path}: {self}"),
        }
    }

    /// What the keeper is told of an attempt that made no link.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::AlreadyLinked(_) => Outcome::AlreadyLinked,
            Self::Misconfigured(Misconfigured::OtherDomain(_)) => Outcome::OtherDomain,
            Self::Network(NetworkError::Connect(error))
                if error.kind() == std::io::ErrorKind::ConnectionRefused =>
            {
                Outcome::Refused
            }
            _ => Outcome::Failed,
        }
    }
}
