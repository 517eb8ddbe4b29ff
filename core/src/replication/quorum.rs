//! Messages among the voters that decide conditional changes by majority, with their bytes: epochs, the registers that
//! hold what was decided, and who has forgotten what.
//!
//! What they are for, and why nothing is decided twice, is [`crate::engine::conditional::quorum`]'s page.

use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};

use crate::base::id::NodeId;
use crate::base::limits::MEMBERS_MAX;

/// The most sets of voters that are read beside the present one. A change of voters that would need one more waits.
pub const READS_MAX: usize = 4;
/// The most registers in one page of them.
pub const PAGE_MAX: usize = 1024;

/// A member with one of its memories. A node that restarts has another one, and is another voter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Voter {
    /// Its name.
    pub node: NodeId,
    /// Numbers its memory.
    pub memory: u64,
}

/// Voters, and how many of them have to agree.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct VoterSet {
    /// In order, each once.
    pub voters: Vec<Voter>,
    /// How many have to agree.
    pub needed: u32,
}

impl VoterSet {
    /// A set of which a majority has to agree.
    #[must_use]
    pub fn majority_of(voters: Vec<Voter>) -> Self {
        let needed = u32::try_from(voters.len() / 2 + 1).unwrap_or(u32::MAX);
        Self { voters, needed }
    }

    /// Whether the voter is one of them.
    #[must_use]
    pub fn contains(&self, voter: &Voter) -> bool {
        self.voters.binary_search(voter).is_ok()
    }

    /// Whether enough of them are among those for which `agrees` holds.
    #[must_use]
    pub fn is_reached(&self, agrees: impl Fn(&Voter) -> bool) -> bool {
        let agreeing = self.voters.iter().filter(|voter| agrees(voter)).count();
        agreeing >= usize::try_from(self.needed).unwrap_or(usize::MAX)
    }

    /// The same without those that an operator says are dead. Who is left has to agree as before, or all of them where
    /// those are fewer.
    #[must_use]
    pub fn without(&self, is_dead: impl Fn(&Voter) -> bool) -> Self {
        let voters: Vec<_> = self
            .voters
            .iter()
            .filter(|voter| !is_dead(voter))
            .cloned()
            .collect();
        let left = u32::try_from(voters.len()).unwrap_or(u32::MAX);
        Self {
            needed: self.needed.min(left),
            voters,
        }
    }
}

/// Who decides, and whose agreement that takes. Epochs are numbered; of each number there is one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Epoch {
    /// From 1 on.
    pub number: u64,
    /// The number of the epoch in which `reads` became what it is.
    pub since: u64,
    /// A decision is made when a majority of them holds it.
    pub voters: VoterSet,
    /// Former voters, who hold what was decided before; empty once the present ones hold all of it.
    pub reads: Vec<VoterSet>,
    /// The voters among whom the keys are divided. Each decides about its own.
    pub owners: Vec<Voter>,
}

/// Orders two who want to begin the same epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Ballot {
    /// One more than any the proposer has seen.
    pub round: u64,
    /// The memory of the proposer.
    pub memory: u64,
}

/// The place of a value among all that were proposed for one key: the epoch, and the owner's count of its proposals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
pub struct Rank {
    /// The epoch's number.
    pub epoch: u64,
    /// Rises with every value that an owner proposes.
    pub sequence: u64,
}

/// What is said among voters. Those about keys come with records.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum QuorumMessage {
    /// What the sender knows.
    Status {
        /// The number of its epoch; 0 for none.
        epoch: u64,
        /// It holds all that was decided before this epoch; 0 for none.
        synced: u64,
    },
    /// Promise to accept no epoch `slot` of an earlier ballot (Paxos, phase 1a).
    Prepare {
        /// The number of the epoch.
        slot: u64,
        /// Of the sender.
        ballot: Ballot,
    },
    /// Answers `Prepare` (1b).
    Promise {
        /// The number of the epoch.
        slot: u64,
        /// The ballot that was promised.
        ballot: Ballot,
        /// What the sender has accepted for it.
        accepted: Option<(Ballot, Epoch)>,
    },
    /// Accept this epoch (2a).
    AcceptEpoch {
        /// Of the sender.
        ballot: Ballot,
        /// The epoch.
        epoch: Epoch,
    },
    /// Answers `AcceptEpoch` (2b).
    AcceptedEpoch {
        /// The number of the epoch.
        slot: u64,
        /// The ballot that was accepted.
        ballot: Ballot,
    },
    /// This epoch was chosen.
    Chosen(Epoch),
    /// An operator says that this voter is dead.
    Forget(Voter),
    /// What does the receiver hold of the one key that comes along?
    Read {
        /// The epoch under which the sender owns the key.
        epoch: u64,
        /// Numbers the request.
        request: u64,
    },
    /// Answers `Read`, with the record.
    Register {
        /// The request it answers.
        request: u64,
        /// The rank of the record; `None` for nothing.
        rank: Option<Rank>,
    },
    /// Hold the one record that comes along.
    Accept(Rank),
    /// Answers `Accept`: it is held.
    Accepted(Rank),
    /// What does the receiver hold of the keys after the one that comes along, or from the first on where none does?
    Pull {
        /// The epoch in which the sender has to have it.
        epoch: u64,
    },
    /// Answers `Pull`, with the records.
    Page {
        /// The epoch that was asked for.
        epoch: u64,
        /// The rank of each record.
        ranks: Vec<Rank>,
        /// Whether it was the last.
        last: bool,
    },
}

impl QuorumMessage {
    /// Whether its lists are as short as they have to be.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        let epoch = |epoch: &Epoch| {
            let sets = epoch.reads.iter().chain([&epoch.voters]);
            epoch.reads.len() <= READS_MAX
                && epoch.owners.len() <= MEMBERS_MAX
                && sets
                    .map(|set| &set.voters)
                    .all(|voters| voters.len() <= MEMBERS_MAX && voters.is_sorted_by(|a, b| a < b))
        };
        match self {
            Self::Promise { accepted, .. } => accepted.as_ref().is_none_or(|(_, accepted)| epoch(accepted)),
            Self::AcceptEpoch { epoch: wanted, .. } | Self::Chosen(wanted) => epoch(wanted),
            Self::Page { ranks, .. } => ranks.len() <= PAGE_MAX,
            _ => true,
        }
    }
}

impl Encode for Voter {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.node.as_str().encode(encoder)?;
        self.memory.encode(encoder)
    }
}

bincode::impl_borrow_decode!(Voter);

impl<Context> Decode<Context> for Voter {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let name = String::decode(decoder)?;
        let node = NodeId::parse(&name).map_err(|error| DecodeError::OtherString(error.to_string()))?;
        let memory = u64::decode(decoder)?;
        Ok(Self { node, memory })
    }
}
