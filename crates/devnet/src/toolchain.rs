//! Where the binaries that npm installed are.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{DevnetError, deploy::SCRIPT};

/// The `node_modules` folder that holds Foundry and Postgres.
#[derive(Debug, Clone)]
pub struct Toolchain {
    modules: PathBuf,
}

/// One entry of `pg-symlinks.json`: npm packages cannot carry symbolic links.
#[derive(Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

impl Toolchain {
    /// Finds the toolchain: `COFFERDAM_NODE_MODULES`, else the nearest `node_modules` at or above the
    /// current directory that holds Foundry, else the one beside the sources this was built from.
    pub fn find() -> Self {
        if let Some(modules) = env::var_os("COFFERDAM_NODE_MODULES") {
            return Self { modules: modules.into() };
        }
        let above = env::current_dir().unwrap_or_default();
        let built = Path::new(env!("CARGO_MANIFEST_DIR"));
        let modules = above
            .ancestors()
            .chain(built.ancestors())
            .map(|dir| dir.join("node_modules"))
            .find(|modules| modules.join("@foundry-rs").is_dir())
            .unwrap_or_else(|| above.join("node_modules"));
        Self { modules }
    }

    /// The project's own folder, which holds the deployment script: the one this was built from, else
    /// the one that holds `node_modules`.
    pub(crate) fn project(&self) -> Result<PathBuf, DevnetError> {
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
        built
            .into_iter()
            .chain(self.modules.parent())
            .find(|dir| dir.join(SCRIPT).is_file())
            .map(Path::to_path_buf)
            .ok_or_else(|| DevnetError::SourcesMissing { searched: self.modules.clone() })
    }

    /// The path of a Foundry tool: `anvil`, `cast` or `forge`.
    pub fn foundry(&self, tool: &'static str) -> Result<PathBuf, DevnetError> {
        let os = match env::consts::OS {
            "macos" => "darwin",
            os => os,
        };
        let arch = match env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            arch => arch,
        };
        let path = self.modules.join(format!("@foundry-rs/{tool}-{os}-{arch}/bin/{tool}"));
        if path.is_file() {
            return Ok(path);
        }
        if !matches!((os, arch), ("linux" | "darwin", "amd64" | "arm64")) {
            let (os, arch) = (env::consts::OS, env::consts::ARCH);
            return Err(DevnetError::Unsupported { what: tool, os, arch, instead: "RPC_URL" });
        }
        Err(DevnetError::ToolMissing { what: tool.into(), searched: self.modules.clone() })
    }

    /// The folder with Postgres' `bin`, `lib` and `share`, its library links in place.
    pub fn postgres(&self) -> Result<PathBuf, DevnetError> {
        let os = match env::consts::OS {
            "macos" => "darwin",
            os => os,
        };
        let arch = match env::consts::ARCH {
            "x86_64" => "x64",
            "aarch64" => "arm64",
            arch => arch,
        };
        if !matches!((os, arch), ("linux" | "darwin", "x64" | "arm64")) {
            let (os, arch) = (env::consts::OS, env::consts::ARCH);
            let what = "Postgres";
            return Err(DevnetError::Unsupported { what, os, arch, instead: "DATABASE_URL" });
        }
        let package = self.modules.join(format!("@embedded-postgres/{os}-{arch}"));
        let native = package.join("native");
        if !native.join("bin/postgres").is_file() {
            let what = format!("Postgres (@embedded-postgres/{os}-{arch})");
            return Err(DevnetError::ToolMissing { what, searched: self.modules.clone() });
        }
        make_links(&package)?;
        Ok(native)
    }
}

/// Makes the library links that the package's own install script would make.
fn make_links(package: &Path) -> Result<(), DevnetError> {
    let list = package.join("native/pg-symlinks.json");
    let text = fs::read(&list).map_err(DevnetError::io("cannot read", &list))?;
    let links: Vec<Link> = serde_json::from_slice(&text)
        .map_err(|error| DevnetError::io("cannot read", &list)(error.into()))?;
    for Link { source, target } in links {
        let target = package.join(target);
        let Some(name) = source.file_name() else { continue };
        match symlink(name, &target) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(DevnetError::io("cannot link", &target)(error));
            }
            _ => {}
        }
    }
    Ok(())
}
