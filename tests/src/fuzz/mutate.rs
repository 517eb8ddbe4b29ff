//! Inputs out of inputs: small harm, repeatable by its seed.

use crate::random::Random;

/// The longest input that is made.
const LEN_MAX: usize = 64 << 10;

/// Numbers at which readers go wrong.
const NUMBERS: [&[u8]; 10] = [
    &[0],
    &[0x7f],
    &[0x80],
    &[0xff],
    &[0xfb, 0xff, 0xff],
    &[0xfc, 0xff, 0xff, 0xff, 0xff],
    &[0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff, 0xff, 0xff, 0x03],
    &[0, 0, 0, 4],
];

/// `input` with one to four pieces of harm, some of them out of `other`.
#[must_use]
pub fn mutated(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.number() % 4 {
        let at = below(bytes.len() + 1, random);
        let end = (at + below(32, random)).min(bytes.len());
        match random.number() % 8 {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (random.number() % 8);
                }
            }
            3 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.number() as u8;
                }
            }
            4 => {
                let number = NUMBERS[below(NUMBERS.len(), random)];
                bytes.splice(at..(at + number.len()).min(bytes.len()), number.iter().copied());
            }
            5 => {
                let number = NUMBERS[below(NUMBERS.len(), random)];
                bytes.splice(at..at, number.iter().copied());
            }
            6 => {
                let again: Vec<u8> = bytes[at..end].repeat(1 + below(16, random));
                bytes.splice(at..at, again);
            }
            _ => {
                let from = below(other.len() + 1, random);
                let until = (from + below(64, random)).min(other.len());
                bytes.splice(at..end, other[from..until].iter().copied());
            }
        }
        bytes.truncate(LEN_MAX);
    }
    bytes
}

fn below(bound: usize, random: &mut Random) -> usize {
    (random.number() % bound.max(1) as u64) as usize
}
