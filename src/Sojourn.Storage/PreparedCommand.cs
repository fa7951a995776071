using Microsoft.Data.Sqlite;

namespace Sojourn.Storage;

/// <summary>
/// A statement compiled once and run with each registration: parsing SQL and looking up how to map its parameters cost more
/// than the statement itself. Under the database's gate, like the connection it belongs to.
/// </summary>
internal sealed class PreparedCommand(Database database, string sql, params string[] parameters)
{
    private SqliteCommand? _command;

    /// <param name="transaction">The open transaction, when there is one.</param>
    /// <param name="values">In the order of the parameters.</param>
    public int Execute(SqliteTransaction? transaction, params ReadOnlySpan<object?> values) => Bind(transaction, values).ExecuteNonQuery();

    /// <summary>The caller disposes the reader before the next use.</summary>
    public SqliteDataReader Read(params ReadOnlySpan<object?> values) => Bind(null, values).ExecuteReader();

    public object? Scalar() => Bind(null, []).ExecuteScalar();

    private SqliteCommand Bind(SqliteTransaction? transaction, ReadOnlySpan<object?> values)
    {
        if (_command is null)
        {
            _command = database.Connection.CreateCommand();
            _command.CommandText = sql;
            foreach (var name in parameters)
            {
                _command.Parameters.Add(new SqliteParameter { ParameterName = name });
            }
        }

        for (var i = 0; i < values.Length; i++)
        {
            _command.Parameters[i].Value = values[i] ?? DBNull.Value;
        }

        _command.Transaction = transaction;
        return _command;
    }
}
