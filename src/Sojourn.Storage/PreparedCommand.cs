using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Sojourn.Storage;

/// <summary>
/// A statement compiled once and run with each registration, on SQLite's own interface: the layers above it cost several times
/// what the statement does. Runs inside whatever transaction the connection has open. Under the database's gate, like the
/// connection it belongs to.
/// </summary>
internal sealed class PreparedCommand(Database database, string sql)
{
    private sqlite3_stmt? _statement;

    /// <param name="values">In the order of the parameters: null, text, octets, numbers, truth values.</param>
    /// <exception cref="SqliteException">The statement failed; nothing of it was done.</exception>
    public void Execute(params ReadOnlySpan<object?> values)
    {
        using var rows = Read(values);
        while (rows.Next())
        {
        }
    }

    /// <returns>The first column of the first row; null without a row.</returns>
    public long? Number(params ReadOnlySpan<object?> values)
    {
        using var rows = Read(values);
        long? first = rows.Next() ? rows.Number(0) : null;
        while (first is not null && rows.Next())
        {
        }

        return first;
    }

    /// <summary>Dispose of the rows before the next use.</summary>
    public Rows Read(params ReadOnlySpan<object?> values)
    {
        var connection = database.Connection.Handle!;
        if (_statement is null)
        {
            Check(raw.sqlite3_prepare_v3(connection, sql, raw.SQLITE_PREPARE_PERSISTENT, out _statement));
            database.Keep(_statement);
        }

        for (var i = 0; i < values.Length; i++)
        {
            Check(values[i] switch
            {
                null => raw.sqlite3_bind_null(_statement, i + 1),
                string text => raw.sqlite3_bind_text(_statement, i + 1, text),
                byte[] octets => raw.sqlite3_bind_blob(_statement, i + 1, octets),
                long number => raw.sqlite3_bind_int64(_statement, i + 1, number),
                int number => raw.sqlite3_bind_int(_statement, i + 1, number),
                bool truth => raw.sqlite3_bind_int(_statement, i + 1, truth ? 1 : 0),
                var other => throw new ArgumentException($"a parameter cannot be a {other.GetType().Name}", nameof(values)),
            });
        }

        return new Rows(this, _statement);
    }

    private void Check(int result)
    {
        if (result is not raw.SQLITE_OK)
        {
            Fail(result);
        }
    }

    private void Fail(int result) =>
        throw new SqliteException($"{raw.sqlite3_errmsg(database.Connection.Handle!).utf8_to_string()} ({sql})", result & 0xFF, result);

    /// <summary>The rows of one run. A null in a column that is read as text or octets is null, as a number it is 0.</summary>
    internal readonly ref struct Rows(PreparedCommand command, sqlite3_stmt statement)
    {
        public bool Next()
        {
            var result = raw.sqlite3_step(statement);
            if (result is not (raw.SQLITE_ROW or raw.SQLITE_DONE))
            {
                command.Fail(result);
            }

            return result == raw.SQLITE_ROW;
        }

        public bool IsNull(int column) => raw.sqlite3_column_type(statement, column) == raw.SQLITE_NULL;

        public long Number(int column) => raw.sqlite3_column_int64(statement, column);

        public long? OptionalNumber(int column) => IsNull(column) ? null : Number(column);

        public string? Text(int column) => IsNull(column) ? null : raw.sqlite3_column_text(statement, column).utf8_to_string();

        public byte[]? Octets(int column) => IsNull(column) ? null : raw.sqlite3_column_blob(statement, column).ToArray();

        /// <summary>Ends the run, which also ends a read transaction of its own.</summary>
        public void Dispose() => raw.sqlite3_reset(statement);
    }
}
