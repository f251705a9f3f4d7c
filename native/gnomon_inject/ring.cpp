#include "ring.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace gnomon {
namespace {

// Field 22 of /proc/self/stat; 0 where it cannot be read.
uint64_t own_start_ticks() {
    char text[1024];
    const int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    const ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0) return 0;
    text[length] = '\0';
    // The second field, the name, may hold blanks and parentheses.
    const char* at = strrchr(text, ')');
    for (int field = 2; at != nullptr && field < 22; ++field) {
        at = strchr(at, ' ');
        if (at != nullptr) ++at;
    }
    return at == nullptr ? 0 : strtoull(at, nullptr, 10);
}

// Not cryptographic: tells the names of one process apart, eight bytes at a time.
uint64_t hash_of(const char* text, size_t length) {
    uint64_t hash = 0x9e3779b97f4a7c15 ^ length;
    while (length > 0) {
        uint64_t part = 0;
        const size_t taken = length < 8 ? length : 8;
        memcpy(&part, text, taken);
        hash = (hash ^ part) * 0xff51afd7ed558ccd;
        hash ^= hash >> 32;
        text += taken;
        length -= taken;
    }
    return hash;
}

void* map_shared(int fd, size_t bytes) {
    void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return mapped == MAP_FAILED ? nullptr : mapped;
}

// Names longer than this are cut: templates of templates reach some kilobytes.
constexpr size_t kLongestName = 16384;

}  // namespace

bool Ring::create(const char* directory, Refusal* refusal) {
    *refusal = Refusal::kDirectory;
    const uint64_t ticks = own_start_ticks();
    const int length = snprintf(path_, sizeof path_, "%s/%d-%llu.ring", directory, getpid(),
                                static_cast<unsigned long long>(ticks));
    if (length < 0 || static_cast<size_t>(length) >= sizeof path_) return false;
    const int fd = open(path_, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return false;
    struct stat status{};
    if (fallocate(fd, 0, 0, kHeaderBytes) == 0 && fstat(fd, &status) == 0)
        header_ = static_cast<Header*>(map_shared(fd, kHeaderBytes));
    close(fd);
    if (header_ == nullptr) {
        *refusal = Refusal::kSpace;
        unlink(path_);
        return false;
    }
    device_ = status.st_dev;
    inode_ = status.st_ino;
    header_->version = kLayoutVersion;
    header_->header_bytes = kHeaderBytes;
    header_->pid = getpid();
    header_->start_ticks = ticks;
    header_->record_bytes = kRecordBytes;
    set_state(State::kWaiting);
    // Last: a reader takes a file with its magic for whole.
    __atomic_store_n(&header_->magic, kRingMagic, __ATOMIC_RELEASE);
    return true;
}

bool Ring::allocate(uint32_t records, uint32_t names_bytes) {
    if (records < 2 * kReserve) return false;
    const uint64_t names_offset = kHeaderBytes + uint64_t{records} * kRecordBytes;
    const uint64_t total = names_offset + names_bytes;
    const int fd = open(path_, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return false;
    struct stat status{};
    void* mapped = nullptr;
    if (fstat(fd, &status) == 0 && status.st_dev == device_ && status.st_ino == inode_ &&
        fallocate(fd, 0, 0, static_cast<off_t>(total)) == 0)
        mapped = map_shared(fd, total);
    close(fd);
    void* slots = mmap(nullptr, kSlots * sizeof(Slot), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == nullptr || slots == MAP_FAILED) {
        if (mapped != nullptr) munmap(mapped, total);
        if (slots != MAP_FAILED) munmap(slots, kSlots * sizeof(Slot));
        return false;
    }
    munmap(header_, kHeaderBytes);
    header_ = static_cast<Header*>(mapped);
    records_ = static_cast<uint8_t*>(mapped) + kHeaderBytes;
    names_ = static_cast<uint8_t*>(mapped) + names_offset;
    slots_ = static_cast<Slot*>(slots);
    header_->names_offset = names_offset;
    header_->names_bytes = names_bytes;
    __atomic_store_n(&header_->ring_records, records, __ATOMIC_RELEASE);
    return true;
}

void Ring::push_bytes(const void* record, uint32_t reserve) {
    const uint64_t head = header_->head;
    const uint64_t tail = __atomic_load_n(&header_->tail, __ATOMIC_ACQUIRE);
    // A tail ahead of the head is no reader's: unsigned, its distance is above any size.
    if (head - tail >= header_->ring_records - reserve) {
        ++header_->lost;
        return;
    }
    memcpy(records_ + head % header_->ring_records * kRecordBytes, record, kRecordBytes);
    __atomic_store_n(&header_->head, head + 1, __ATOMIC_RELEASE);
}

uint32_t Ring::name(const char* text) {
    if (text == nullptr) return kNoName;
    const size_t length = strnlen(text, kLongestName);
    const uint64_t hash = hash_of(text, length);
    for (uint32_t at = hash % kSlots;; at = (at + 1) % kSlots) {
        Slot& slot = slots_[at];
        if (!slot.is_used) return store_name(text, static_cast<uint32_t>(length), slot, hash);
        if (slot.hash == hash) return slot.number;
    }
}

uint32_t Ring::store_name(const char* text, uint32_t length, Slot& slot, uint64_t hash) {
    const uint64_t used = header_->names_used;
    const uint64_t needed = sizeof length + (uint64_t{length} + 3) / 4 * 4;
    // Beyond three quarters looking a name up takes long.
    if (used + needed > header_->names_bytes || name_count_ >= kSlots / 4 * 3) {
        ++header_->names_lost;
        return kNoName;
    }
    memcpy(names_ + used, &length, sizeof length);
    memcpy(names_ + used + sizeof length, text, length);
    slot = {hash, name_count_, 1};
    __atomic_store_n(&header_->names_used, used + needed, __ATOMIC_RELEASE);
    return name_count_++;
}

void Ring::set_state(State state, Reason reason, int32_t result) {
    header_->reason = static_cast<uint32_t>(reason);
    header_->result = result;
    __atomic_store_n(&header_->state, static_cast<uint32_t>(state), __ATOMIC_RELEASE);
}

}  // namespace gnomon
