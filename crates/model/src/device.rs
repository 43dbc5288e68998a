//! Devices by name: `cpu`, `cuda`, `cuda:1`, `wgpu`, `wgpu:0`.

use burn::tensor::{Device, DeviceType};

use crate::error::{Error, Result};

/// Finds the device of that name among those compiled in and present.
///
/// # Errors
/// When the name is none of `cpu`, `cuda[:i]`, `wgpu[:i]`, or there is no such device.
pub fn device(name: &str) -> Result<Device> {
    let unknown = |problem: String| Error::Device { name: name.to_owned(), problem };
    let (kind, index) = match name.split_once(':') {
        None => (name, 0),
        Some((kind, index)) => {
            let index = index
                .parse::<usize>()
                .map_err(|_| unknown("expected a number after the colon".to_owned()))?;
            (kind, index)
        }
    };
    let wanted = match kind {
        "cpu" => return Ok(Device::flex()),
        "cuda" => DeviceType::Cuda,
        "wgpu" => DeviceType::Vulkan,
        _ => return Err(unknown("expected `cpu`, `cuda[:i]` or `wgpu[:i]`".to_owned())),
    };
    let devices = Device::enumerate(wanted).into_vec();
    let n_devices = devices.len();
    devices.into_iter().nth(index).ok_or_else(|| {
        unknown(format!(
            "{n_devices} devices of this kind were found; is the binary built with --features {kind}?"
        ))
    })
}
