//! Every way from one version to another, and that none ends in between.

use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const STEPS: [&str; 3] = [
    "CREATE TABLE birds (name TEXT); INSERT INTO birds VALUES ('wren');",
    "ALTER TABLE birds ADD COLUMN legs INTEGER DEFAULT 2;",
    "CREATE TABLE nests (bird TEXT); INSERT INTO nests SELECT name FROM birds;",
];

const SCHEMA: Schema = Schema { name: "the birds", steps: &STEPS, unnumbered: is_the_first };

fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection
}

/// A file as the program with the first so many steps leaves it.
fn made(path: &Path, steps: usize) {
    let schema = Schema { steps: &STEPS[..steps], ..SCHEMA };
    let mut connection = open(path);
    schema.bring_up(&mut connection, path).unwrap();
    connection.execute("INSERT INTO birds (name) VALUES ('crane')", []).unwrap();
}

/// Everything that is in a database.
fn dump(connection: &Connection) -> Vec<String> {
    let tables = "SELECT name, sql FROM sqlite_schema ORDER BY name";
    let mut found = Vec::new();
    let mut statement = connection.prepare(tables).unwrap();
    let tables: Vec<(String, String)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (name, sql) in tables {
        found.push(sql);
        let mut rows = connection.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let columns = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let row: Vec<_> = (0..columns).map(|at| format!("{:?}", row.get_ref(at))).collect();
            found.push(row.join(" "));
        }
    }
    found.push(user_version(connection).unwrap().to_string());
    found
}

fn copies(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let names = entries.map(|name| name.into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.contains("before")).collect();
    names.sort();
    names
}

#[test]
fn every_earlier_version_becomes_the_latest_with_all_that_was_in_it() {
    for steps in 1..=STEPS.len() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("birds.db");
        made(&path, steps);
        let before = dump(&open(&path));
        let mut connection = open(&path);
        SCHEMA.bring_up(&mut connection, &path).unwrap();
        let birds: Vec<(String, i64)> = connection
            .prepare("SELECT name, legs FROM birds ORDER BY name")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(birds, [("crane".to_owned(), 2), ("wren".to_owned(), 2)], "from {steps}");
        assert_eq!(user_version(&connection).unwrap(), 3);
        let kept = dir.path().join("birds.db.before-v3");
        if steps == STEPS.len() {
            assert_eq!(copies(dir.path()), [""; 0], "there was nothing to do");
        } else {
            assert_eq!(dump(&Connection::open(&kept).unwrap()), before, "from {steps}");
            assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let after = dump(&connection);
        SCHEMA.bring_up(&mut connection, &path).unwrap();
        assert_eq!(dump(&connection), after, "a second time changes nothing");
    }
}

#[test]
fn a_file_without_a_number_is_of_the_version_that_it_looks_like() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("birds.db");
    let legs = |connection: &Connection| {
        let sql = "SELECT 1 + count(*) FROM pragma_table_info('birds') WHERE name = 'legs'";
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|found| found as usize)
    };
    let schema = Schema { unnumbered: legs, ..SCHEMA };
    for steps in [1, 2] {
        made(&path, steps);
        open(&path).pragma_update(None, "user_version", 0).unwrap();
        let mut connection = open(&path);
        schema.bring_up(&mut connection, &path).unwrap();
        assert_eq!(user_version(&connection).unwrap(), 3);
        drop(connection);
        fs::remove_file(&path).unwrap();
    }
    // One that has all there is gets its number, and no copy is made for that.
    let (dir, one) = (tempfile::tempdir().unwrap(), Schema { steps: &STEPS[..1], ..SCHEMA });
    let path = dir.path().join("birds.db");
    made(&path, 1);
    open(&path).pragma_update(None, "user_version", 0).unwrap();
    one.bring_up(&mut open(&path), &path).unwrap();
    assert_eq!((user_version(&open(&path)).unwrap(), copies(dir.path()).len()), (1, 0));
}

#[test]
fn a_later_version_is_refused_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("birds.db");
    made(&path, 3);
    let before = dump(&open(&path));
    let older = Schema { steps: &STEPS[..2], ..SCHEMA };
    let error = older.bring_up(&mut open(&path), &path).unwrap_err();
    assert!(matches!(error, SchemaError::Newer { found: 3, known: 2, .. }), "{error:?}");
    assert!(error.to_string().contains("`.before-v3`"), "{error}");
    assert_eq!(dump(&open(&path)), before);
}

#[test]
fn a_step_that_fails_leaves_the_file_as_it_was() {
    for broken in 1..STEPS.len() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("birds.db");
        made(&path, 1);
        let before = dump(&open(&path));
        let mut steps = STEPS;
        // It does something, and cannot do the rest.
        steps[broken] = "DELETE FROM birds; INSERT INTO nowhere VALUES (1);";
        let schema = Schema { steps: Vec::from(steps).leak(), ..SCHEMA };
        let error = schema.bring_up(&mut open(&path), &path).unwrap_err();
        let SchemaError::Step { from: 1, to, .. } = error else { panic!("{error:?}") };
        assert_eq!(to, broken + 1);
        assert_eq!(dump(&open(&path)), before);
        SCHEMA.bring_up(&mut open(&path), &path).unwrap();
    }
}

#[test]
fn a_change_that_was_cut_off_anywhere_leaves_old_or_new() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("birds.db");
    made(&path, 1);
    let (old, mut seen) = (dump(&open(&path)), Vec::new());
    {
        // A program that has made its steps, and is not there to commit them.
        let mut connection = open(&path);
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        for step in &STEPS[1..] {
            change.execute_batch(step).unwrap();
            // What the next program finds if this one is killed now: the files as they
            // are, without its locks.
            let found = tempfile::tempdir().unwrap();
            for suffix in ["", "-wal"] {
                let name = format!("birds.db{suffix}");
                fs::copy(dir.path().join(&name), found.path().join(&name)).unwrap();
            }
            seen.push(dump(&open(&found.path().join("birds.db"))));
        }
    }
    assert_eq!(seen, [old.clone(), old.clone()]);
    assert_eq!(dump(&open(&path)), old);
    SCHEMA.bring_up(&mut open(&path), &path).unwrap();
    assert_eq!(user_version(&open(&path)).unwrap(), 3);
}

#[test]
fn without_a_copy_nothing_is_changed_and_only_the_last_copy_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("birds.db");
    made(&path, 1);
    let two = Schema { steps: &STEPS[..2], ..SCHEMA };
    fs::create_dir(dir.path().join("birds.db.before-v2")).unwrap();
    let before = dump(&open(&path));
    let error = two.bring_up(&mut open(&path), &path).unwrap_err();
    assert!(matches!(error, SchemaError::Copy { .. }), "{error:?}");
    assert_eq!(dump(&open(&path)), before);

    fs::remove_dir(dir.path().join("birds.db.before-v2")).unwrap();
    two.bring_up(&mut open(&path), &path).unwrap();
    assert_eq!(copies(dir.path()), ["birds.db.before-v2"]);
    SCHEMA.bring_up(&mut open(&path), &path).unwrap();
    assert_eq!(copies(dir.path()), ["birds.db.before-v3"]);
}

#[test]
fn a_database_that_is_damaged_is_found_whether_it_is_open_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("birds #1?.db");
    made(&path, 3);
    let names = || fs::read_dir(dir.path()).unwrap().count();
    let before = names();
    check(&path).unwrap();
    assert_eq!(names(), before, "nothing was made");
    let open = open(&path);
    open.execute("INSERT INTO birds (name) VALUES ('rook')", []).unwrap();
    check(&path).unwrap();
    drop(open);
    let mut bytes = fs::read(&path).unwrap();
    let page = bytes.len() / 3;
    bytes[page..].fill(0xff);
    fs::write(&path, bytes).unwrap();
    check(&path).unwrap_err();
}

#[test]
fn a_copy_is_of_one_moment_while_others_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("birds.db");
    made(&path, 3);
    let writer = open(&path);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (writer, stop) = (Mutex::new(writer), &stop);
        scope.spawn(move || {
            let writer = writer.lock().unwrap();
            // Each bird has its nest.
            while !stop.load(Ordering::Relaxed) {
                let both = "BEGIN; INSERT INTO birds VALUES ('rook', 2);
                            INSERT INTO nests VALUES ('rook'); COMMIT;";
                writer.execute_batch(both).unwrap();
            }
        });
        let reader = Connection::open(&path).unwrap();
        for _ in 0..20 {
            let to = dir.path().join("copy.db");
            copy(&reader, &to).unwrap();
            let copied = Connection::open(&to).unwrap();
            let sql = "SELECT (SELECT count(*) FROM birds WHERE name = 'rook'),
                              (SELECT count(*) FROM nests WHERE bird = 'rook')";
            let (birds, nests): (i64, i64) =
                copied.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            assert_eq!(birds, nests);
        }
        stop.store(true, Ordering::Relaxed);
    });
}
