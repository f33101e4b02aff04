/* What runs inside the sandbox: CPython with nothing around it. `start` starts the interpreter and loads every module that
 * code may import, while the module is built (snapshot.mjs); what is shipped is the memory after that. A call then is
 * `allocate`, the request written there, `run`, and the answer read where `answer` points: both are JSON (driver.py). */
#include <Python.h>
#include <stdlib.h>

static PyObject *answer_to;
static PyObject *answer_bytes;

static void fail(const char *what) {
    PyErr_Print();
    fprintf(stderr, "%s\n", what);
    abort();
}

__attribute__((export_name("start"))) void start(void) {
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.use_hash_seed = 1;
    config.hash_seed = 0;
    config.site_import = 0;
    config.write_bytecode = 0;
    config.install_signal_handlers = 0;
    config.buffered_stdio = 0; /* what was printed before a program is stopped is shown */
    config.module_search_paths_set = 1;
    PyWideStringList_Append(&config.module_search_paths, L"/lib");
    PyConfig_SetString(&config, &config.stdio_encoding, L"utf-8");
    PyConfig_SetString(&config, &config.stdio_errors, L"backslashreplace");
    PyStatus status = Py_InitializeFromConfig(&config);
    if (PyStatus_Exception(status)) {
        fprintf(stderr, "%s\n", status.err_msg);
        abort();
    }
    PyConfig_Clear(&config);
    PyObject *driver = PyImport_ImportModule("driver");
    if (driver == NULL) fail("the driver is not there");
    answer_to = PyObject_GetAttrString(driver, "answer_to");
    if (answer_to == NULL) fail("the driver has no answer_to");
    Py_DECREF(driver);
}

__attribute__((export_name("allocate"))) char *allocate(int length) { return malloc(length); }

/* The length of the answer, or -1. The request is freed. */
__attribute__((export_name("run"))) int run(char *request, int length) {
    PyObject *bytes = PyBytes_FromStringAndSize(request, length);
    free(request);
    if (bytes == NULL) return -1;
    answer_bytes = PyObject_CallOneArg(answer_to, bytes);
    Py_DECREF(bytes);
    return answer_bytes == NULL ? -1 : (int)PyBytes_GET_SIZE(answer_bytes);
}

__attribute__((export_name("answer"))) char *answer(void) { return PyBytes_AS_STRING(answer_bytes); }
