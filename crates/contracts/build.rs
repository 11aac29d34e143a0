//! Compiles the contracts with forge into `OUT_DIR`, so that the bindings can never disagree with the
//! sources; and the deployment script, so that the devnet can run it without compiling anything.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, exit},
};

/// What the artifacts depend on, relative to the project's root. The tests of the contracts are left
/// out, so that editing one does not rebuild the Rust side.
const INPUTS: [&str; 11] = [
    "contracts/AuditAnchor.sol",
    "contracts/MCPAgentRegistry.sol",
    "contracts/PolicyRegistry.sol",
    "contracts/SmartAccount.sol",
    "contracts/SmartAccountFactory.sol",
    "contracts/interfaces",
    "contracts/libraries",
    "foundry.toml",
    "package-lock.json",
    "script/Deploy.s.sol",
    "script/solc",
];

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let root = manifest.ancestors().nth(2).expect("crates/contracts is two levels down");

    for input in INPUTS {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    println!("cargo::rerun-if-env-changed=FORGE");

    let forge = forge(root);
    let output = Command::new(&forge)
        .current_dir(root)
        .env_remove("FOUNDRY_PROFILE")
        // All that `forge script` looks at, or it would find something to compile.
        .args(["build", "--quiet", "--skip", "contracts/test/**", "--out"])
        .arg(out.join("forge"))
        .arg("--cache-path")
        .arg(out.join("forge-cache"))
        .output();
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            for line in String::from_utf8_lossy(&output.stderr).lines().filter(|l| !l.is_empty()) {
                println!("cargo::error={line}");
            }
            fail(&format!("{} build failed ({})", forge.display(), output.status));
        }
        Err(error) => fail(&format!("cannot run {}: {error}", forge.display())),
    }
}

/// forge as npm installed it, or the one that `FORGE` names.
fn forge(root: &Path) -> PathBuf {
    if let Some(forge) = env::var_os("FORGE") {
        return forge.into();
    }
    let os = match env::consts::OS {
        "macos" => "darwin",
        os => os,
    };
    let arch = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        arch => arch,
    };
    let modules = root.join("node_modules");
    let forge = modules.join(format!("@foundry-rs/forge-{os}-{arch}/bin/forge"));
    if !forge.is_file() || !modules.join("solc").is_dir() {
        fail(
            "the contract toolchain is not installed; run `npm ci --ignore-scripts` in the project",
        );
    }
    forge
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1)
}
