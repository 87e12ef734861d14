//! A log file with a limit: once full it becomes `NAME.1`, older ones move up,
//! and the oldest goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub(super) struct RotatingFile {
    path: PathBuf,
    file: File,
    written: u64,
    bytes_max: u64,
    rotated_max: usize,
}

impl RotatingFile {
    /// Appends to the file at `path`; its folder is created.
    pub(super) fn open(path: PathBuf, bytes_max: u64, rotated_max: usize) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = append(&path)?;
        let written = file.metadata()?.len();
        Ok(Self { path, file, written, bytes_max, rotated_max })
    }

    fn rotated(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.rotated_max).rev() {
            rename_if_there(&self.rotated(number), &self.rotated(number + 1))?;
        }
        if self.rotated_max == 0 {
            fs::remove_file(&self.path)?;
        } else {
            fs::rename(&self.path, self.rotated(1))?;
        }
        self.file = append(&self.path)?;
        self.written = 0;
        Ok(())
    }
}

impl Write for RotatingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written > 0 && self.written + bytes.len() as u64 > self.bytes_max {
            self.rotate()?;
        }
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_named_number_of_files_within_the_named_size() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("logs/application.log");
        let mut file = RotatingFile::open(path.clone(), 100, 2).expect("opens");
        // As the logging layers do: one line, one write.
        for number in 0..45 {
            file.write_all(format!("line {number:04}\n").as_bytes()).expect("writes");
        }
        let mut names: Vec<String> = fs::read_dir(folder.path().join("logs"))
            .expect("reads")
            .map(|entry| entry.expect("entry").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        assert_eq!(names, ["application.log", "application.log.1", "application.log.2"]);
        for name in names {
            assert!(fs::metadata(folder.path().join("logs").join(name)).expect("there").len() <= 100);
        }
        assert!(fs::read_to_string(&path).expect("reads").ends_with("line 0044\n"));
        // Opened again it goes on where it was.
        drop(file);
        let mut file = RotatingFile::open(path.clone(), 100, 2).expect("opens");
        file.write_all(b"again\n").expect("writes");
        assert!(fs::read_to_string(&path).expect("reads").contains("line 0044\nagain"));
    }
}
