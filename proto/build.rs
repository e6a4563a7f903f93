//! Generates the Rust types and services from the `.proto` files, without a compiler installed on the machine.
//!
//! What a field says of itself in its `.proto` file decides what is generated beside prost's own code: `debug_redact` keeps
//! it out of `Debug`, `json_name` and its type say how it stands in goproxyctl's JSON.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use protox::prost::Message as _;
use protox::prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use tonic_prost_build::Builder;

/// The package whose messages goproxyctl prints as JSON.
const PRINTED: &str = "goproxy.control.v1";

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=goproxy");

    let mut files = Vec::new();
    collect(&root.join("goproxy"), &mut files)?;
    files.sort();
    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true).open_files(&files)?;
    let mut set = compiler.file_descriptor_set();
    let pool = compiler.descriptor_pool();

    let printed: Vec<_> = pool
        .all_messages()
        .filter(|message| message.package_name() == PRINTED && !message.is_map_entry() && !has_bytes(message))
        .collect();
    let secret: Vec<_> =
        pool.all_messages().filter(|message| message.fields().any(|field| is_secret(&field))).collect();
    let mut builder = tonic_prost_build::configure().btree_map(".").bytes(".").emit_rerun_if_changed(false);
    for message in &secret {
        builder = builder.skip_debug([format!(".{}", message.full_name())]);
    }
    for message in &printed {
        builder =
            builder.message_attribute(format!(".{}", message.full_name()), "#[derive(serde::Serialize)]");
        for field in message.fields() {
            builder = printed_field(builder, &field);
        }
    }
    builder.compile_fds(set.clone())?;
    fs::write(out.join("extras.rs"), extras(&pool, &secret)?)?;

    // What reflection answers from needs no comments.
    for file in &mut set.file {
        file.source_code_info = None;
    }
    fs::write(out.join("descriptors.bin"), set.encode_to_vec())?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether it is a part of content, which is nothing to print.
fn has_bytes(message: &MessageDescriptor) -> bool {
    message.fields().any(|field| field.kind() == Kind::Bytes)
}

/// Whether the field is marked `debug_redact`, an option that prost's own types do not have yet.
fn is_secret(field: &FieldDescriptor) -> bool {
    field.options().get_field_by_name("debug_redact").and_then(|value| value.as_bool()).unwrap_or(false)
}

/// How a field stands in JSON: under its own name unless it names another, enums by their values' short names, times as RFC 3339.
fn printed_field(builder: Builder, field: &FieldDescriptor) -> Builder {
    let path = format!(".{}", field.full_name());
    let mut said = Vec::new();
    if field.json_name() != camel_case(field.name()) {
        said.push(format!("rename = \"{}\"", field.json_name()));
    }
    let list = field.cardinality() == Cardinality::Repeated;
    let kind = field.kind();
    if let Some(kind) = kind.as_enum() {
        let (function, kind) = (if list { "enums" } else { "enumeration" }, rust_path(kind.full_name()));
        said.push(format!("serialize_with = \"crate::json::{function}::<_, {kind}>\""));
    }
    let function = match kind.as_message().map(MessageDescriptor::full_name) {
        Some("google.protobuf.Timestamp") => Some("timestamp"),
        Some("google.protobuf.Duration") => Some("duration"),
        Some(_) | None => None,
    };
    said.extend(function.map(|function| format!("serialize_with = \"crate::json::{function}\"")));
    if said.is_empty() {
        builder
    } else {
        builder.field_attribute(path, format!("#[serde({})]", said.join(", ")))
    }
}

/// What protobuf calls a field in JSON unless it says otherwise.
fn camel_case(name: &str) -> String {
    let mut camel = String::new();
    let mut raise = false;
    for c in name.chars() {
        match c {
            '_' => raise = true,
            c if raise => {
                camel.extend(c.to_uppercase());
                raise = false;
            }
            c => camel.push(c),
        }
    }
    camel
}

/// `goproxy.control.v1.Node` as it is called from within the crate.
fn rust_path(full_name: &str) -> String {
    format!("crate::{}", full_name.trim_start_matches("goproxy.").replace('.', "::"))
}

/// Implementations that prost does not make.
fn extras(pool: &DescriptorPool, secret: &[MessageDescriptor]) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    for message in secret {
        let (path, name) = (rust_path(message.full_name()), message.name());
        writeln!(text, "impl ::std::fmt::Debug for {path} {{")?;
        writeln!(text, "    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {{")?;
        writeln!(text, "        f.debug_struct(\"{name}\")")?;
        let fields: BTreeSet<_> = message
            .fields()
            .map(|field| (field.number(), field.name().to_owned(), is_secret(&field)))
            .collect();
        for (_, field, hidden) in fields {
            let value = if hidden { "&\"[redacted]\"".to_owned() } else { format!("&self.{field}") };
            writeln!(text, "            .field(\"{field}\", {value})")?;
        }
        writeln!(text, "            .finish()\n    }}\n}}\n")?;
    }
    for kind in pool.all_enums().filter(|kind| kind.package_name().starts_with("goproxy.")) {
        let path = rust_path(kind.full_name());
        let unspecified = kind.default_value().name().to_owned();
        let prefix = unspecified.trim_end_matches("UNSPECIFIED");
        writeln!(text, "impl crate::json::Named for {path} {{")?;
        writeln!(text, "    const PREFIX: &'static str = \"{prefix}\";")?;
        writeln!(text, "    fn full_name(self) -> &'static str {{\n        self.as_str_name()\n    }}")?;
        writeln!(
            text,
            "    fn from_full_name(name: &str) -> Option<Self> {{\n        Self::from_str_name(name)\n    }}\n}}\n"
        )?;
    }
    Ok(text)
}
