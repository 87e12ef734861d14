//! [`Message`] → text.

use super::Message;

/// The message as readable text, for a terminal.
pub fn preview(message: &Message) -> String {
    let plain = |text: &str| text.replace(['\u{200b}', '\\'], "");
    let mut out = String::new();
    out.extend(message.content.iter().map(|c| format!("{}\n", plain(c))));
    for embed in &message.embeds {
        out.extend(embed.title.iter().map(|t| format!("{}\n", plain(t))));
        out.extend(embed.url.iter().map(|u| format!("  {u}\n")));
        for line in embed.description.iter().flat_map(|d| d.lines()) {
            out.push_str(&format!("  {}\n", plain(line)));
        }
        for field in &embed.fields {
            out.push_str(&format!("  {}\n", plain(&field.name)));
            field
                .value
                .lines()
                .for_each(|line| out.push_str(&format!("    {}\n", plain(&line.replace("**", "")))));
        }
        out.extend(embed.footer.iter().map(|f| format!("  [{}]\n", plain(f))));
        out.push('\n');
    }
    out
}
