// Answers of an S3 server, or of whatever stands where one was expected: XML is read or refused.

#include "storage/s3/s3_answer.h"
#include "fuzz/fuzz.h"

using namespace pgvigil;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const ByteView input = fuzz::view(data, size);
    const s3::S3Context context{.what = "list \"s3://bucket\"",
                                .bucket = "bucket",
                                .region = "r",
                                .endpoint = "https://localhost",
                                .now_ms = 0};
    HttpResponse response;
    response.body.assign(input.begin(), input.end());
    response.status = 200;
    fuzz::accepted([&] { (void)s3::read_listing(response, context); });
    fuzz::accepted([&] { (void)s3::read_delete_result(response, context); });
    fuzz::accepted([&] { (void)s3::read_noncurrent_end(response, "prod/", context); });
    BucketRules rules;
    fuzz::accepted([&] { s3::read_object_lock(response, context, rules); });
    for (const int status : {301, 400, 403, 404, 412, 500, 503}) {
        response.status = status;
        const s3::S3Failure failure = s3::read_failure(response);
        fuzz::require(!s3::s3_error(failure, context).message().empty(), "a failure without a message");
    }
    return 0;
}
