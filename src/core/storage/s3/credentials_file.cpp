#include "storage/s3/credentials_file.h"

#include "base/error.h"

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace pgvigil::s3 {

namespace {

constexpr size_t kMaxFileBytes = kMiB;

std::string_view trimmed(std::string_view text) noexcept {
    constexpr std::string_view kSpace = " \t\r";
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
    return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

std::string profile_of(const CredentialsOptions &options) {
    if (!options.profile.empty())
        return options.profile;
    return options.environment.get("AWS_PROFILE").value_or("default");
}

std::string in_home(const CredentialsOptions &options, const char *variable, const char *name) {
    if (const auto path = options.environment.get(variable))
        return *path;
    return options.environment.get("HOME").value_or("") + "/.aws/" + name;
}

// What tells one state of a file from another.
struct FileState {
    bool exists = false;
    ino_t inode = 0;
    off_t size = 0;
    timespec modified = {};

    friend bool operator==(const FileState &one, const FileState &other) noexcept {
        return one.exists == other.exists && one.inode == other.inode && one.size == other.size &&
               one.modified.tv_sec == other.modified.tv_sec && one.modified.tv_nsec == other.modified.tv_nsec;
    }
};

FileState state_of(const std::string &path) noexcept {
    struct stat status = {};
    if (stat(path.c_str(), &status) != 0)
        return {};
    return {true, status.st_ino, status.st_size, status.st_mtim};
}

// As PostgreSQL does for a server key: 0600, or 0640 when root owns it.
void check_mode(const std::string &path) {
    struct stat status = {};
    if (stat(path.c_str(), &status) != 0)
        return;
    const mode_t forbidden = status.st_uid == 0 ? (S_IWGRP | S_IXGRP | S_IRWXO) : (S_IRWXG | S_IRWXO);
    if ((status.st_mode & forbidden) != 0)
        throw Error(ErrorCode::kAccessDenied, fmt::format("credentials file \"{}\" may be read by others", path))
            .hint(fmt::format("Run: chmod 0600 '{}'.", path));
}

class FileCredentials : public CredentialsProvider {
  public:
    explicit FileCredentials(const CredentialsOptions &options)
        : options_(options), profile_(profile_of(options)),
          path_(options.credentials_file.empty() ? in_home(options, "AWS_SHARED_CREDENTIALS_FILE", "credentials")
                                                 : options.credentials_file) {}

    std::optional<Credentials> fetch(const CancelToken &) override {
        const bool required = !options_.credentials_file.empty();
        state_ = state_of(path_);
        if (required)
            check_mode(path_);
        const auto text = read_small_file(path_);
        if (!text && required)
            throw Error(ErrorCode::kNotFound, fmt::format("credentials file \"{}\" does not exist", path_));
        if (text) {
            const IniFile file = parse_ini(*text, path_);
            if (const auto section = file.find(profile_); section != file.end())
                if (auto credentials = from_section(section->second, path_))
                    return credentials;
        }
        if (required)
            throw Error(ErrorCode::kAccessDenied,
                        fmt::format("credentials file \"{}\" has no keys for profile \"{}\"", path_, profile_))
                .hint(fmt::format("Expected is a section [{}] with aws_access_key_id and aws_secret_access_key.",
                                  profile_));
        return from_section(config_section(options_), in_home(options_, "AWS_CONFIG_FILE", "config"));
    }

    [[nodiscard]] std::string source() const override {
        return fmt::format("\"{}\" (profile \"{}\")", path_, profile_);
    }

    [[nodiscard]] bool has_changed() const override { return !(state_of(path_) == state_); }

  private:
    [[nodiscard]] std::optional<Credentials> from_section(const IniSection &section, const std::string &path) const {
        const auto value = [&](const char *name) {
            const auto found = section.find(name);
            return found == section.end() ? std::string() : found->second;
        };
        Credentials credentials{
            {value("aws_access_key_id"), value("aws_secret_access_key"), value("aws_session_token")}, 0};
        const bool has_access = !credentials.key.access_key.empty();
        const bool has_secret = !credentials.key.secret_key.empty();
        if (has_access && has_secret)
            return credentials;
        if (has_access || has_secret)
            throw Error(ErrorCode::kInvalidArgument,
                        fmt::format("profile \"{}\" in \"{}\" lacks {}", profile_, path,
                                    has_access ? "aws_secret_access_key" : "aws_access_key_id"));
        for (const char *unsupported : {"credential_process", "sso_session", "sso_start_url", "source_profile"})
            if (section.contains(unsupported))
                throw Error(ErrorCode::kUnsupported,
                            fmt::format("profile \"{}\" in \"{}\" uses {}, which is not supported", profile_, path,
                                        unsupported))
                    .hint("Use keys, a web identity token, or the role of the machine or container.");
        return std::nullopt;
    }

    const CredentialsOptions options_;
    const std::string profile_;
    const std::string path_;
    FileState state_;
};

} // namespace

std::optional<std::string> read_small_file(const std::string &path) {
    const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return std::nullopt;
        throw system_error(fmt::format("could not open \"{}\"", path), errno);
    }
    std::string text(kMaxFileBytes + 1, '\0');
    size_t done = 0;
    int error_number = 0;
    while (done < text.size()) {
        const ssize_t got = read(descriptor, text.data() + done, text.size() - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            error_number = errno;
        if (got <= 0)
            break;
        done += static_cast<size_t>(got);
    }
    close(descriptor);
    if (error_number != 0)
        throw system_error(fmt::format("could not read \"{}\"", path), error_number);
    if (done > kMaxFileBytes)
        throw Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is larger than 1 MiB", path));
    text.resize(done);
    return text;
}

IniFile parse_ini(std::string_view text, std::string_view path) {
    IniFile file;
    IniSection *section = nullptr;
    size_t number = 0;
    while (!text.empty()) {
        const size_t end = std::min(text.find('\n'), text.size());
        const std::string_view raw = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        ++number;
        const std::string_view line = trimmed(raw);
        if (line.empty() || line.front() == '#' || line.front() == ';')
            continue;
        if (line.front() == '[') {
            if (line.back() != ']')
                throw Error(ErrorCode::kInvalidArgument, fmt::format("line {} of \"{}\" has no \"]\"", number, path));
            section = &file[std::string(trimmed(line.substr(1, line.size() - 2)))];
            continue;
        }
        // An indented line belongs to a nested setting ("s3 =") of tools we do not share settings with.
        if (raw.front() == ' ' || raw.front() == '\t')
            continue;
        const size_t equals = line.find('=');
        if (equals == std::string_view::npos || section == nullptr)
            throw Error(ErrorCode::kInvalidArgument,
                        fmt::format("line {} of \"{}\" is neither [SECTION] nor NAME = VALUE below one", number, path));
        (*section)[std::string(trimmed(line.substr(0, equals)))] = trimmed(line.substr(equals + 1));
    }
    return file;
}

IniSection config_section(const CredentialsOptions &options) {
    const std::string path = in_home(options, "AWS_CONFIG_FILE", "config");
    const auto text = read_small_file(path);
    if (!text)
        return {};
    const IniFile file = parse_ini(*text, path);
    const std::string profile = profile_of(options);
    for (const std::string &name : {"profile " + profile, profile})
        if (const auto found = file.find(name); found != file.end() && (name != profile || profile == "default"))
            return found->second;
    return {};
}

std::unique_ptr<CredentialsProvider> make_file_credentials(const CredentialsOptions &options) {
    return std::make_unique<FileCredentials>(options);
}

std::string configured_region(const CredentialsOptions &options) {
    for (const char *name : {"AWS_REGION", "AWS_DEFAULT_REGION"})
        if (const auto region = options.environment.get(name))
            return *region;
    const IniSection section = config_section(options);
    const auto found = section.find("region");
    return found == section.end() ? "" : found->second;
}

} // namespace pgvigil::s3
