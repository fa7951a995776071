using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Encodings.Web;

namespace Sojourn.WebConsole;

/// <summary>
/// A piece of HTML. <see cref="Of"/> takes an interpolated string and encodes every value in it, except values that are
/// HTML already, so that forgetting to encode is not possible.
/// </summary>
internal readonly record struct Html(string Text)
{
    public static readonly Html Empty = new("");

    public static Html Of(HtmlBuilder builder) => new(builder.ToString());

    public static Html Join(IEnumerable<Html> pieces) => new(string.Concat(pieces.Select(p => p.Text)));

    public override string ToString() => Text;
}

[InterpolatedStringHandler]
internal readonly struct HtmlBuilder(int literalLength, int formattedCount)
{
    private readonly StringBuilder _text = new(literalLength + (16 * formattedCount));

    public void AppendLiteral(string literal) => _text.Append(literal);

    public void AppendFormatted(Html html) => _text.Append(html.Text);

    public void AppendFormatted<T>(T value) => _text.Append(HtmlEncoder.Default.Encode(Convert.ToString(value, CultureInfo.InvariantCulture) ?? ""));

    public override string ToString() => _text.ToString();
}
