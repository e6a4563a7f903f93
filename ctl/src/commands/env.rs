//! `env`: the settings in force and where each comes from.

use common::duration_text::DurationText;
use serde::Serialize;

use super::Context;
use crate::output::Answer;
use crate::output::page::Page;
use crate::output::table::Table;
use crate::settings::{Sourced, TokenPlace};

#[derive(Serialize)]
struct Shown {
    settings: Vec<Setting>,
    config_file: Option<String>,
    data_dir: Option<String>,
}

#[derive(Serialize)]
struct Setting {
    name: &'static str,
    value: Option<String>,
    source: Option<String>,
}

impl Setting {
    fn new<T>(name: &'static str, setting: &Sourced<T>, value: String) -> Self {
        Self { name, value: Some(value), source: Some(setting.source.to_string()) }
    }

    fn unset(name: &'static str) -> Self {
        Self { name, value: None, source: None }
    }
}

pub(super) fn run(context: &Context) -> Answer {
    let settings = &context.settings;
    let servers: Vec<_> = settings.servers.value.iter().map(ToString::to_string).collect();
    let path = |path: &std::path::PathBuf| path.display().to_string();
    let shown = vec![
        Setting::new("server", &settings.servers, servers.join(",")),
        settings.ca.as_ref().map_or(Setting::unset("ca"), |ca| Setting::new("ca", ca, path(&ca.value))),
        settings.token.as_ref().map_or(Setting::unset("token"), |token| {
            let value = match &token.value {
                TokenPlace::File(file) => path(file),
                TokenPlace::Variable => "set, not shown".to_owned(),
            };
            Setting::new("token", token, value)
        }),
        Setting::new("output", &settings.output, format!("{:?}", settings.output.value).to_lowercase()),
        Setting::new("timeout", &settings.timeout, DurationText(settings.timeout.value).to_string()),
        settings.profile.as_ref().map_or(Setting::unset("profile"), |name| Setting {
            name: "profile",
            value: Some(name.clone()),
            source: settings.config_file.as_ref().map(path),
        }),
    ];
    let mut table = Table::new(&["SETTING", "VALUE", "FROM"], "");
    for setting in &shown {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        table.row(vec![setting.name.into(), or_dash(&setting.value).into(), or_dash(&setting.source).into()]);
    }
    let place = |file: &Option<std::path::PathBuf>| file.as_ref().map_or_else(|| "-".to_owned(), path);
    let places = vec![
        ("profiles are in", place(&settings.config_file).into()),
        ("ca and token else from", place(&settings.data_dir).into()),
    ];
    let data = Shown {
        settings: shown,
        config_file: settings.config_file.as_ref().map(path),
        data_dir: settings.data_dir.as_ref().map(path),
    };
    Answer::new(data, Page::new().table(table).fields(places))
}
