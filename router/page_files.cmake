# Writes the files of the fleet's page as C: cmake -DFOLDER=router/page -DOUT=page_files.c -P this
set(types "html=text/html" "css=text/css" "js=text/javascript")
set(arrays "")
set(table "")
foreach(file index.html page.css page.js chat.js)
    file(READ ${FOLDER}/${file} bytes HEX)
    string(LENGTH "${bytes}" len)
    math(EXPR len "${len} / 2")
    # Lines of 16 bytes: a compiler need not swallow one of a hundred thousand columns.
    string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
    string(MAKE_C_IDENTIFIER ${file} name)
    string(REGEX REPLACE ".*\\." "" kind ${file})
    string(REGEX REPLACE ".*${kind}=([^;]*).*" "\\1" type "${types}")
    set(path "/${file}")
    if(file STREQUAL "index.html")
        set(path "/")
    endif()
    string(APPEND arrays "static const uint8_t ${name}[] = {\n${bytes}};\n\n")
    string(APPEND table "    {\"${path}\", \"${type}; charset=utf-8\", ${name}, ${len}},\n")
endforeach()
file(WRITE ${OUT} "/* Written by router/page_files.cmake. */\n#include \"router/page_files.h\"\n\n"
     "${arrays}const struct page_file page_files[] = {\n${table}};\n"
     "const size_t page_n_files = sizeof(page_files) / sizeof(page_files[0]);\n")
