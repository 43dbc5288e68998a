//! Scalars into the event files that TensorBoard reads.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// An event file that is being written.
///
/// # Source
/// TensorFlow's `event.proto` and `record_writer.cc`: records of a length, its checksum, a message of
/// protocol buffers, and its checksum.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Begins a file in a folder. `seconds` is the time since 1970, which is part of the file's name.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(folder: &Path, seconds: f64) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        let path = folder.join(format!("events.out.tfevents.{:.3}.tamis", seconds));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let mut events = Self { file: file.map_err(|error| Error::io(&path, error))?, path };
        let mut message = Vec::new();
        double(&mut message, 1, seconds);
        bytes(&mut message, 3, b"brain.Event:2");
        events.record(&message)?;
        Ok(events)
    }

    /// Writes one value at a step.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn scalar(&mut self, seconds: f64, step: u64, tag: &str, value: f64) -> Result<()> {
        let mut scalar = Vec::new();
        bytes(&mut scalar, 1, tag.as_bytes());
        key(&mut scalar, 2, 5);
        scalar.extend_from_slice(&(value as f32).to_le_bytes());
        let mut summary = Vec::new();
        bytes(&mut summary, 1, &scalar);
        let mut message = Vec::new();
        double(&mut message, 1, seconds);
        key(&mut message, 2, 0);
        varint(&mut message, step);
        bytes(&mut message, 5, &summary);
        self.record(&message)
    }

    /// One call of the system per record, so that a kill leaves whole records.
    fn record(&mut self, message: &[u8]) -> Result<()> {
        let length = (message.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(message.len() + 16);
        record.extend_from_slice(&length);
        record.extend_from_slice(&masked_crc(&length).to_le_bytes());
        record.extend_from_slice(message);
        record.extend_from_slice(&masked_crc(message).to_le_bytes());
        self.file.write_all(&record).map_err(|error| Error::io(&self.path, error))
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The number of a field and how its value is written.
fn key(out: &mut Vec<u8>, field: u64, wire: u64) {
    varint(out, field << 3 | wire);
}

fn double(out: &mut Vec<u8>, field: u64, value: f64) {
    key(out, field, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    key(out, field, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// CRC-32C, rotated and shifted as the format asks.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: records are short.
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    /// The next varint and what is left.
    fn read_varint(data: &[u8]) -> (u64, &[u8]) {
        let end = data.iter().position(|byte| byte & 0x80 == 0).unwrap();
        let value = data[..=end].iter().rev().fold(0, |v, &b| v << 7 | u64::from(b & 0x7f));
        (value, &data[end + 1..])
    }

    /// The fields of a message: number and value, numbers of 8 and 4 bytes as their bytes.
    fn fields(mut data: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut fields = Vec::new();
        while !data.is_empty() {
            let (key, rest) = read_varint(data);
            let (value, rest) = match key & 7 {
                0 => {
                    let (value, rest) = read_varint(rest);
                    (value.to_le_bytes().to_vec(), rest)
                }
                1 => (rest[..8].to_vec(), &rest[8..]),
                5 => (rest[..4].to_vec(), &rest[4..]),
                2 => {
                    let (n, rest) = read_varint(rest);
                    (rest[..n as usize].to_vec(), &rest[n as usize..])
                }
                wire => panic!("wire type {wire}"),
            };
            fields.push((key >> 3, value));
            data = rest;
        }
        fields
    }

    #[test]
    fn scalars_come_back_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(folder.path(), 1_700_000_000.5).unwrap();
        events.scalar(1_700_000_001.0, 300, "train/loss", 0.625).unwrap();
        let data = std::fs::read(&events.path).unwrap();
        let mut messages = Vec::new();
        let mut rest = &data[..];
        while !rest.is_empty() {
            let n = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let crc =
                |range: std::ops::Range<usize>| u32::from_le_bytes(rest[range].try_into().unwrap());
            assert_eq!(crc(8..12), masked_crc(&rest[..8]));
            assert_eq!(crc(12 + n..16 + n), masked_crc(&rest[12..12 + n]));
            messages.push(fields(&rest[12..12 + n]));
            rest = &rest[16 + n..];
        }
        assert_eq!(messages[0][1], (3, b"brain.Event:2".to_vec()));
        assert_eq!(messages[1][0], (1, 1_700_000_001.0_f64.to_le_bytes().to_vec()));
        assert_eq!(messages[1][1], (2, 300_u64.to_le_bytes().to_vec()));
        let summary = fields(&messages[1][2].1);
        let value = fields(&summary[0].1);
        assert_eq!(value[0], (1, b"train/loss".to_vec()));
        assert_eq!(value[1], (2, 0.625_f32.to_le_bytes().to_vec()));
    }
}
