// SPDX-License-Identifier: BSD-3-Clause
// Fetches a URL into a file with Java's own client: java Fetch.java URL FILE
import java.io.InputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;

public class Fetch {
    public static void main(String[] arguments) throws Exception {
        try (InputStream in = URI.create(arguments[0]).toURL().openStream()) {
            Files.copy(in, Path.of(arguments[1]), StandardCopyOption.REPLACE_EXISTING);
        }
        System.exit(0);
    }
}
