//! What a `.proto` file has to look like, one function for each kind of thing in it.

use std::collections::{BTreeMap, BTreeSet};

use protox::prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, MessageDescriptor, MethodDescriptor,
    OneofDescriptor, ServiceDescriptor, Syntax,
};

use super::super::Finding;
use super::names::{is_lower_snake, is_pascal, is_upper_snake, is_version, upper_snake};
use super::{FOLDER, finding};

/// What calls that change nothing begin with.
const READING: [&str; 9] = ["Get", "List", "Watch", "Plan", "Diff", "Test", "Explain", "Locate", "WhoAmI"];

/// The package whose changes are an operator's, and what they carry.
const OPERATED: &str = "goproxy.control.";
const OPTIONS: &str = "MutationOptions";

/// Where in a file's descriptor its package and syntax are named, in the numbering of `descriptor.proto`.
const PACKAGE_PATH: [i32; 1] = [2];

struct Checker {
    path: String,
    /// Line, and whether there is a comment, for each thing in the file.
    places: BTreeMap<Vec<i32>, (usize, bool)>,
    found: Vec<Finding>,
}

pub(super) fn check(file: &FileDescriptor) -> Vec<Finding> {
    let mut places = BTreeMap::new();
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    for location in info.iter().flat_map(|info| &info.location) {
        let line =
            location.span.first().and_then(|line| usize::try_from(*line).ok()).map_or(0, |line| line + 1);
        let comment = location.leading_comments.as_deref().is_some_and(|text| !text.trim().is_empty());
        places.insert(location.path.clone(), (line, comment));
    }
    let mut checker = Checker { path: format!("{FOLDER}{}", file.name()), places, found: Vec::new() };
    checker.file(file);
    file.services().for_each(|service| checker.service(&service));
    file.messages().for_each(|message| checker.message(&message));
    file.enums().for_each(|kind| checker.enumeration(&kind));
    checker.found
}

/// What shows only when all files are looked at: a request or an answer belongs to one call.
pub(super) fn check_together(pool: &DescriptorPool) -> Vec<Finding> {
    let mut users = BTreeMap::<String, Vec<String>>::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        for message in [method.input(), method.output()] {
            users.entry(message.full_name().to_owned()).or_default().push(method.full_name().to_owned());
        }
    }
    let shared = users.into_iter().filter(|(_, users)| users.len() > 1);
    shared
        .map(|(message, users)| {
            finding("proto", None, format!("`{message}` is shared by {}", users.join(", ")))
        })
        .collect()
}

impl Checker {
    fn say(&mut self, at: &[i32], rule: impl Into<String>) {
        let line = self.places.get(at).map(|(line, _)| *line);
        self.found.push(finding(&self.path, line, rule));
    }

    fn comment(&mut self, at: &[i32], name: &str) {
        if !self.places.get(at).is_some_and(|(_, comment)| *comment) {
            self.say(at, format!("`{name}` has no comment above it"));
        }
    }

    fn shape(&mut self, at: &[i32], name: &str, fits: bool, shape: &str) {
        if !fits {
            self.say(at, format!("`{name}` is not {shape}"));
        }
    }

    fn file(&mut self, file: &FileDescriptor) {
        let package = file.package_name();
        let parts: Vec<_> = package.split('.').collect();
        if file.syntax() != Syntax::Proto3 {
            self.say(&[], "is not `syntax = \"proto3\"`");
        }
        match parts.as_slice() {
            ["goproxy", area, version] if is_lower_snake(area) && is_version(version) => {}
            _ => self.say(&PACKAGE_PATH, format!("package `{package}` is not of the form goproxy.<area>.v1")),
        }
        let (folder, name) = file.name().rsplit_once('/').unwrap_or(("", file.name()));
        if folder != package.replace('.', "/") {
            self.say(&PACKAGE_PATH, format!("package `{package}` is in the folder `{folder}`"));
        }
        let stem = name.trim_end_matches(".proto");
        self.shape(&PACKAGE_PATH, stem, is_lower_snake(stem), "lower_snake_case");
        self.imports(file);
    }

    fn imports(&mut self, file: &FileDescriptor) {
        let descriptor = file.file_descriptor_proto();
        if !descriptor.public_dependency.is_empty() || !descriptor.weak_dependency.is_empty() {
            self.say(&[], "has a public or weak import");
        }
        let mut used = BTreeSet::new();
        for service in file.services() {
            for method in service.methods() {
                used.insert(method.input().parent_file().name().to_owned());
                used.insert(method.output().parent_file().name().to_owned());
            }
        }
        let mut messages: Vec<_> = file.messages().collect();
        while let Some(message) = messages.pop() {
            messages.extend(message.child_messages());
            used.extend(message.fields().filter_map(|field| defined_in(&field)));
        }
        let unused = (0..).zip(&descriptor.dependency).filter(|(_, import)| !used.contains(*import));
        for (at, import) in unused {
            self.say(&[3, at], format!("import of `{import}`, which is not used"));
        }
    }

    fn service(&mut self, service: &ServiceDescriptor) {
        let name = service.name();
        self.comment(service.path(), name);
        let fits = is_pascal(name) && name.ends_with("Service");
        self.shape(service.path(), name, fits, "PascalCase with `Service` at its end");
        service.methods().for_each(|method| self.method(&method));
    }

    fn method(&mut self, method: &MethodDescriptor) {
        let (name, path) = (method.name(), method.path());
        self.comment(path, name);
        self.shape(path, name, is_pascal(name), "PascalCase");
        let package = method.parent_service().package_name();
        for (message, end) in [(method.input(), "Request"), (method.output(), "Response")] {
            if message.name() != format!("{name}{end}") || message.package_name() != package {
                self.say(
                    path,
                    format!("`{name}` takes or gives `{}`, not `{name}{end}`", message.full_name()),
                );
            }
        }
        let has = |message: &MessageDescriptor, field: &str| message.get_field_by_name(field).is_some();
        if name.starts_with("List") {
            let (asked, given) = (method.input(), method.output());
            let paged =
                has(&asked, "page_size") && has(&asked, "page_token") && has(&given, "next_page_token");
            if !paged {
                self.say(path, format!("`{name}` has no page_size, page_token and next_page_token"));
            }
        }
        let changes = !READING.iter().any(|word| name.starts_with(word));
        if changes && method.full_name().starts_with(OPERATED) {
            let options = method.input().get_field_by_name("options").map(|field| field.kind());
            let fits = options
                .as_ref()
                .and_then(|kind| kind.as_message())
                .is_some_and(|kind| kind.name() == OPTIONS);
            if !fits {
                self.say(path, format!("`{name}` changes something and takes no `{OPTIONS} options`"));
            }
        }
    }

    fn message(&mut self, message: &MessageDescriptor) {
        if message.is_map_entry() {
            return;
        }
        self.comment(message.path(), message.name());
        self.shape(message.path(), message.name(), is_pascal(message.name()), "PascalCase");
        message.fields().for_each(|field| self.field(&field));
        message.oneofs().filter(|oneof| !oneof.is_synthetic()).for_each(|oneof| self.oneof(&oneof));
        message.child_messages().for_each(|child| self.message(&child));
        message.child_enums().for_each(|child| self.enumeration(&child));
    }

    fn oneof(&mut self, oneof: &OneofDescriptor) {
        self.comment(oneof.path(), oneof.name());
        self.shape(oneof.path(), oneof.name(), is_lower_snake(oneof.name()), "lower_snake_case");
    }

    fn field(&mut self, field: &FieldDescriptor) {
        let (name, path) = (field.name(), field.path());
        self.comment(path, name);
        self.shape(path, name, is_lower_snake(name), "lower_snake_case");
        let kind = field.kind();
        let end = match kind.as_message().map(MessageDescriptor::full_name) {
            Some("google.protobuf.Timestamp") => "_time",
            Some("google.protobuf.Duration") => "_duration",
            Some(_) | None => "",
        };
        self.shape(path, name, name.ends_with(end), &format!("a name that ends in `{end}`"));
    }

    fn enumeration(&mut self, kind: &EnumDescriptor) {
        let (name, path) = (kind.name(), kind.path());
        self.comment(path, name);
        self.shape(path, name, is_pascal(name), "PascalCase");
        let prefix = upper_snake(name) + "_";
        if kind
            .enum_descriptor_proto()
            .options
            .as_ref()
            .is_some_and(|options| options.allow_alias == Some(true))
        {
            self.say(path, format!("`{name}` has two names for one number"));
        }
        for value in kind.values() {
            let (name, path) = (value.name(), value.path());
            self.comment(path, name);
            let fits = is_upper_snake(name) && name.starts_with(&prefix);
            self.shape(path, name, fits, &format!("UPPER_SNAKE_CASE with `{prefix}` before it"));
            if value.number() == 0 && name != format!("{prefix}UNSPECIFIED") {
                self.say(path, format!("the value 0 is `{name}`, not `{prefix}UNSPECIFIED`"));
            }
        }
    }
}

/// The file that has a field's type, where it is no built-in one.
fn defined_in(field: &FieldDescriptor) -> Option<String> {
    let kind = field.kind();
    let message = kind.as_message().map(MessageDescriptor::parent_file);
    let file = message.or_else(|| kind.as_enum().map(EnumDescriptor::parent_file))?;
    Some(file.name().to_owned())
}
