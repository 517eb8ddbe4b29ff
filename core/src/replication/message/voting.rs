//! The bytes of [`Message::Quorum`]: the sender's memory, what is said, then the records.

use super::{EncodeError, Message, PROTOCOL, PeerMisbehaved, QUORUM, append_bincode, decode_bincode};
use crate::base::id::SessionKey;
use crate::replication::primitives::{self, Reader};
use crate::replication::quorum::QuorumMessage;
use crate::replication::records;
use crate::session::Record;

pub(super) fn append(
    memory: u64,
    body: &QuorumMessage,
    all: &[(SessionKey, Record)],
    into: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    into.extend([PROTOCOL, QUORUM]);
    primitives::number(memory, into);
    append_bincode(body, into)?;
    records::write(all.iter().map(|(key, record)| (key, record)), into);
    Ok(())
}

pub(super) fn read(reader: &mut Reader) -> Result<Message, PeerMisbehaved> {
    let memory = reader.number()?;
    let body = decode_bincode::<QuorumMessage>(reader)?;
    if !body.is_bounded() {
        return Err(PeerMisbehaved::TooManyVoters);
    }
    Ok(Message::Quorum {
        memory,
        body,
        records: records::read(reader)?,
    })
}
