//! Devices by name: `cpu`, `cuda`, `cuda:1`, `wgpu`, `wgpu:0`.

use burn::tensor::Device;

use crate::error::{Error, Result};

/// Finds the device of that name among those compiled in and present.
///
/// # Errors
/// When the name is none, the binary is built without that kind, or there is no such device.
pub fn device(name: &str) -> Result<Device> {
    let problem =
        |problem: &str| Error::Device { name: name.to_owned(), problem: problem.to_owned() };
    let (kind, index) = name.split_once(':').unwrap_or((name, "0"));
    let index: usize = index.parse().map_err(|_| problem("expected a number after the colon"))?;
    let devices = match kind {
        "cpu" => vec![Device::flex()],
        #[cfg(feature = "cuda")]
        "cuda" => Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec(),
        #[cfg(feature = "wgpu")]
        "wgpu" => Device::enumerate(burn::tensor::DeviceType::Wgpu).into_vec(),
        #[cfg(not(feature = "cuda"))]
        "cuda" => return Err(problem("this binary is built without --features cuda")),
        #[cfg(not(feature = "wgpu"))]
        "wgpu" => return Err(problem("this binary is built without --features wgpu")),
        _ => return Err(problem("expected `cpu`, `cuda[:i]` or `wgpu[:i]`")),
    };
    let n_devices = devices.len();
    devices.into_iter().nth(index).ok_or_else(|| match (kind, n_devices) {
        ("cuda", 0) => {
            problem("no CUDA device was found; expected an NVIDIA GPU with its driver (libcuda)")
        }
        ("wgpu", 0) => problem(
            "no device was found; expected a GPU with a Vulkan, Metal or DirectX 12 driver, or \
             Mesa's software renderer",
        ),
        _ => problem(&format!("{n_devices} of this kind were found")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_there_once() {
        assert_eq!(device("cpu").unwrap(), Device::flex());
        assert_eq!(
            device("cpu:1").unwrap_err().to_string(),
            "device `cpu:1`: 1 of this kind were found"
        );
        let unknown = device("tpu").unwrap_err().to_string();
        assert_eq!(unknown, "device `tpu`: expected `cpu`, `cuda[:i]` or `wgpu[:i]`");
    }
}
