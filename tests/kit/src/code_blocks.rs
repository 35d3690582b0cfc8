/// The code blocks of this language in a Markdown text.
pub fn code_blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1);
    blocks.filter_map(|block| block.split("```").next()).map(str::to_owned).collect()
}
