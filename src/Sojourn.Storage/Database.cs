using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using Microsoft.Data.Sqlite;

namespace Sojourn.Storage;

/// <summary>
/// One SQLite file with its numbered migrations. The connection is used from one thread at a time; callers that share
/// a <see cref="Database"/> lock it. Commits reach the disk before <c>Execute</c> returns (WAL, synchronous = FULL).
/// </summary>
public sealed class Database : IDisposable
{
    /// <summary>How long a statement waits for another process to commit. On a busy disk one commit can take seconds, and a running node makes many.</summary>
    internal static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(30);

    private static readonly Lock NativeLock = new();
    private static bool s_nativeReady;

    private readonly List<IDisposable> _statements = [];

    private Database(string path, SqliteConnection connection, Seal seal)
    {
        Path = path;
        Connection = connection;
        Seal = seal;
    }

    public string Path { get; }

    public Seal Seal { get; }

    internal SqliteConnection Connection { get; }

    internal Lock Gate { get; } = new();

    /// <summary>
    /// Opens or creates the database and brings it to the newest schema. Before an existing file is migrated a copy is
    /// kept beside it as <c>FILE.before-N</c>.
    /// </summary>
    /// <param name="path">Database file.</param>
    /// <param name="sealKeyPath">Sealing key file; default <c>FILE.seal-key</c>.</param>
    /// <param name="create">Make the file and its key when missing.</param>
    /// <exception cref="StorageException">Cannot be opened, is newer than this program, or its sealing key does not fit.</exception>
    public static Database Open(string path, string? sealKeyPath = null, bool create = true)
    {
        LoadNative();
        var existed = File.Exists(path);
        if (!existed && !create)
        {
            throw new StorageException($"database {path} does not exist");
        }

        var seal = Seal.FromFile(sealKeyPath ?? path + ".seal-key", create && !existed);
        if (!existed)
        {
            // SQLite would create it with the umask's mode.
            using var file = new FileStream(path, new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            });
        }

        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Pooling = false }.ToString());
        try
        {
            connection.Open();
            Run(connection, string.Create(CultureInfo.InvariantCulture, $"PRAGMA busy_timeout = {LongestWait.TotalMilliseconds}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"));
            var database = new Database(path, connection, seal);
            database.Migrate(existed);
            return database;
        }
        catch (SqliteException e)
        {
            connection.Dispose();
            throw new StorageException($"cannot open database {path}: {e.Message}", e);
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        // A connection with statements left would stay open until they are collected.
        _statements.ForEach(statement => statement.Dispose());
        _statements.Clear();
        Connection.Dispose();
    }

    /// <summary>Ends a compiled statement with the database.</summary>
    internal void Keep(IDisposable statement) => _statements.Add(statement);

    /// <summary>A connection of its own for long questions: it sees what is committed and keeps nobody from writing. The caller disposes of it.</summary>
    internal SqliteConnection OpenReader()
    {
        var reader = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = Path, Mode = SqliteOpenMode.ReadOnly, Pooling = false }.ToString());
        reader.Open();
        return reader;
    }

    private void Migrate(bool existed)
    {
        var have = new PreparedCommand(this, "PRAGMA user_version").Number() ?? 0;
        var scripts = Migrations();
        if (have > scripts.Count)
        {
            throw new StorageException($"database {Path} has schema {have}, but this program knows only up to {scripts.Count}; it was written by a newer version");
        }

        if (have == scripts.Count)
        {
            return;
        }

        if (existed && have > 0)
        {
            var copy = string.Create(CultureInfo.InvariantCulture, $"{Path}.before-{have + 1}");
            new PreparedCommand(this, "VACUUM INTO @copy").Execute(copy);
        }

        for (var version = have; version < scripts.Count; version++)
        {
            using var transaction = Connection.BeginTransaction();
            Run(Connection, scripts[(int)version], transaction);
            Run(Connection, string.Create(CultureInfo.InvariantCulture, $"PRAGMA user_version = {version + 1}"), transaction);
            transaction.Commit();
        }
    }

    private static void Run(SqliteConnection connection, string statements, SqliteTransaction? transaction = null)
    {
        using var command = connection.CreateCommand();
        (command.CommandText, command.Transaction) = (statements, transaction);
        command.ExecuteNonQuery();
    }

    private static List<string> Migrations()
    {
        var assembly = typeof(Database).Assembly;
        return [.. assembly.GetManifestResourceNames()
            .Where(n => n.EndsWith(".sql", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)
            .Select(n =>
            {
                using var reader = new StreamReader(assembly.GetManifestResourceStream(n)!);
                return reader.ReadToEnd();
            })];
    }

    // The provider package binds a library called e_sqlite3; the system's own, kept patched by the distribution, is the
    // one to use.
    private static void LoadNative()
    {
        lock (NativeLock)
        {
            if (s_nativeReady)
            {
                return;
            }

            NativeLibrary.SetDllImportResolver(typeof(SQLitePCL.SQLite3Provider_e_sqlite3).Assembly, static (name, assembly, search) =>
                name == "e_sqlite3" ? NativeLibrary.Load("libsqlite3.so.0", assembly, search) : 0);
            SQLitePCL.raw.SetProvider(new SQLitePCL.SQLite3Provider_e_sqlite3());
            s_nativeReady = true;
        }
    }
}
